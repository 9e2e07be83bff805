"""What was begun and can't be brought to its end is closed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Closes(Protocol):
    """What holds something, and gives it back when it is closed."""

    def close(self) -> None:
        """Give it back."""
        ...


@contextmanager
def close_on_error(begun: Closes) -> Iterator[None]:
    """Close it if what is done in this block fails, however that is."""
    try:
        yield
    except BaseException:
        begun.close()
        raise
