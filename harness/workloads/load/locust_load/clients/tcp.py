"""Bytes over TCP.

Rows: `send`, and the whole `answer`, whose length says how many bytes to read. Both are text, in UTF-8.
"""

import socket
from collections.abc import Mapping
from typing import Any

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.schedule import Task


class Tcp:
    """One connection, opened again after a failure, and after a wrong answer, because more bytes of that may
    follow."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Connect."""
        self._socket = connect_to(self._task)

    def disconnect(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Send, and read the answer."""
        send, answer = row.get("send", "").encode(), row["answer"].encode()

        def ask() -> int:
            if self._socket is None:
                self.connect()
            assert self._socket is not None
            self._socket.sendall(send)
            if read_exactly(self._socket, len(answer)) != answer:
                self.disconnect()
                raise WrongAnswer("wrong answer")
            return len(answer)

        return ask


def connect_to(task: Task) -> socket.socket:
    """A connection to the server without Nagle's delay."""
    sock = socket.create_connection((task.host, task.port), task.timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read `size` bytes. Raises `EOFError` if the connection is closed before."""
    received = b""
    while len(received) < size:
        more = sock.recv(size - len(received))
        if not more:
            raise EOFError("closed before the whole answer came")
        received += more
    return received


CLIENT: type[Client] = Tcp
