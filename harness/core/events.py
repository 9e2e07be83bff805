"""What happens, published to whoever shows or keeps it; running and showing never call each other.

Producers call `publish`; progress displays, transcripts and reports `subscribe`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `kind` is dotted (`build.started`), `about` names its object, `at` is in
    monotonic seconds."""

    kind: str
    about: str
    detail: str = ""
    at: float = field(default_factory=monotonic)


NOT_STORED = "cache.unkept"
"""Of what would have made a later run faster and could not be written: `about` is what it is, `detail` why."""

Subscriber = Callable[[Event], None]


@runtime_checkable
class Closing(Protocol):
    """A subscriber that does something of its own, which ends with the block that it hears."""

    def close(self) -> None:
        """End it."""
        ...


_subscribers: list[Subscriber] = []


def publish(kind: str, about: str, detail: str = "") -> None:
    """Tell every subscriber, in the order in which they subscribed."""
    event = Event(kind, about, detail)
    for subscriber in tuple(_subscribers):
        subscriber(event)


@contextmanager
def subscribed(subscriber: Subscriber) -> Iterator[None]:
    """Hear all events published inside the block."""
    _subscribers.append(subscriber)
    try:
        yield
    finally:
        _subscribers.remove(subscriber)
        if isinstance(subscriber, Closing):
            subscriber.close()
