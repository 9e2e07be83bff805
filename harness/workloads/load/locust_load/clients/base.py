"""What speaks a protocol for one user, and how it says that an answer is wrong."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.workloads.load.locust_load.schedule import Task

Request = Callable[[], int]
"""Asks once and gives the size of the right answer in bytes; raises `WrongAnswer` or what its library raises."""


class WrongAnswer(Exception):
    """An answer that is not the one wanted; its text is the kind of failure."""


class Client(Protocol):
    """One user's side of a protocol. Each protocol's module has one, and names it `CLIENT`."""

    def __init__(self, task: Task) -> None:
        """Get ready, without connecting."""
        ...

    def connect(self) -> None:
        """Connect, so that the first request does not pay for it; may fail as a `Request` may."""
        ...

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Prepare a row, once for many requests. Asking connects again where that is needed."""
        ...

    def disconnect(self) -> None:
        """Leave a connection that is of no more use."""
        ...
