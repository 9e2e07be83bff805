"""Closes what was started if the rest of its start fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Closes(Protocol):
    """An object that holds a resource and releases it when it is closed."""

    def close(self) -> None:
        """Release the resource."""
        ...


@contextmanager
def close_on_error(begun: Closes) -> Iterator[None]:
    """Close `begun` if the block fails in any way."""
    try:
        yield
    except BaseException:
        begun.close()
        raise
