"""Events: what happens is published to whoever shows or stores it. Running and showing never call each other.

Producers call `publish`; progress displays, transcripts and reports subscribe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `kind` is dotted (`build.started`), `about` names its object, `at` is in monotonic seconds."""

    kind: str
    about: str
    detail: str = ""
    at: float = field(default_factory=monotonic)


NOT_STORED = "cache.unkept"
"""The kind of event for data that would speed up a later run and could not be written: `about` says what, `detail`
why."""

Subscriber = Callable[[Event], None]


@runtime_checkable
class Closing(Protocol):
    """A subscriber with resources of its own, which are released at the end of its block."""

    def close(self) -> None:
        """Release them."""
        ...


_subscribers: list[Subscriber] = []


def publish(kind: str, about: str, detail: str = "") -> None:
    """Call every subscriber, in the order in which they subscribed."""
    event = Event(kind, about, detail)
    for subscriber in tuple(_subscribers):
        subscriber(event)


@contextmanager
def subscribed(subscriber: Subscriber) -> Iterator[None]:
    """Receive all events published inside the block."""
    _subscribers.append(subscriber)
    try:
        yield
    finally:
        _subscribers.remove(subscriber)
        if isinstance(subscriber, Closing):
            subscriber.close()
