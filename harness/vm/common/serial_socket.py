"""A serial line that a hypervisor connects to our socket, so that no byte of it is missed."""

import socket
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from harness.core.close_on_error import close_on_error
from harness.core.errors import HostError, HypervisorError

CONNECT_SECONDS = 60.0


class SerialSocket:
    """A socket in a private folder, to which the hypervisor connects its guest's serial line."""

    def __init__(self, path: Path) -> None:
        """Raises `HostError` if no socket can have that name."""
        self._listening = socket.socket(socket.AF_UNIX)
        with close_on_error(self._listening):
            try:
                self._listening.bind(str(path))
                self._listening.listen(1)
            except OSError as error:
                shorter = "Set TMPDIR to a folder with a short name."
                raise HostError(f"No socket can be at {path}: {error}.", shorter) from error

    def accept(self, name: str, failed: Callable[[], str]) -> socket.socket:
        """Wait for the hypervisor's connection and return it. `failed` says why it will never come, or is empty.
        Raises `HypervisorError`."""
        deadline = monotonic() + CONNECT_SECONDS
        self._listening.settimeout(0.1)
        while True:
            try:
                line, _ = self._listening.accept()
                line.setblocking(True)
                return line
            except TimeoutError:
                if why := failed():
                    raise HypervisorError(f"{name} did not start the machine: {why}") from None
                if monotonic() > deadline:
                    raise HypervisorError(f"{name} did not connect the guest's serial line.") from None

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()
