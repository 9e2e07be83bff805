"""pexpect on a guest's serial socket: everything that is read is recorded and matched, whoever reads it."""

import os
import select
import socket
from collections.abc import Callable
from io import FileIO
from time import monotonic

from pexpect import EOF, TIMEOUT
from pexpect.socket_pexpect import SocketSpawn

from harness.runner.console.matcher import ConsoleMatcher
from harness.runner.console.transcript import Transcript

CHUNK = 1 << 16


class SerialConsole(SocketSpawn):  # type: ignore[misc]  # pexpect is not typed
    """A pexpect spawn, which people drive with `expect` and `send`.

    Every byte that any of pexpect's calls reads goes to the transcript and the matcher first. While it waits, it
    also handles the descriptors in `watched`: each one's function is called when its descriptor is readable, and
    returns True if the wait is to end.
    """

    def __init__(self, line: socket.socket | FileIO, transcript: Transcript, monitor: ConsoleMatcher) -> None:
        super().__init__(line, timeout=30, maxread=CHUNK, searchwindowsize=CHUNK)
        self.transcript = transcript
        self.monitor = monitor
        self.watched: dict[int, Callable[[], bool]] = {}

    def read_nonblocking(self, size: int = CHUNK, timeout: float | None = -1) -> bytes:
        """Read what the guest printed, at most `size` bytes, within `timeout` seconds.

        Raises pexpect's TIMEOUT when the time is over or a watched descriptor ended the wait, and its EOF when the
        guest's process has closed the line.
        """
        if timeout == -1:
            timeout = self.timeout
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            ready, _, _ = select.select([self.socket, *self.watched], [], [], left)
            if self.socket in ready:
                return self._take(size)
            if not ready:
                raise TIMEOUT("the guest printed nothing in time")
            for fd in ready:
                if fd in self.watched and self.watched[fd]():
                    raise TIMEOUT("something else happened first")

    def _take(self, size: int) -> bytes:
        try:
            data = os.read(self.socket.fileno(), size)
        except ConnectionResetError:
            data = b""
        if not data:
            self.flag_eof = True
            raise EOF("the guest's console was closed")
        self.transcript.add(data, monotonic())
        self.monitor.feed(data)
        return data
