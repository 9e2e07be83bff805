"""The interface of a protocol's client."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.workloads.load.locust_load.schedule import Task

Request = Callable[[], int]
"""Sends one request and returns the size of the right answer in bytes; raises `WrongAnswer` or an error of its
library."""


class WrongAnswer(Exception):
    """An answer that differs from the expected one; its text is the kind of failure."""


class Client(Protocol):
    """One user's connection. Each protocol's module names its class `CLIENT`."""

    def __init__(self, task: Task) -> None:
        """Prepare, without connecting."""
        ...

    def connect(self) -> None:
        """Connect, so that the first request does not pay for it; may fail like a `Request`."""
        ...

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Prepare a row, once for many requests. The request connects again if needed."""
        ...

    def disconnect(self) -> None:
        """Close a connection that is no longer usable."""
        ...
