"""OSv's tests that need the host to take part. Source: the checkout's scripts/tests/test_net.py."""

import contextlib
import socket

import pytest

from harness.cell import Cell
from harness.programs import Program
from harness.programs.visit import Visit, Visitor
from harness.pytest_verdicts import GuestRun

PORT = 7777


def test_tcp_close_without_reading(run_guest: GuestRun, cell: Cell) -> None:
    """A guest closes a connection whose data it has not read, while the host goes on sending; it ends well."""
    if cell.kernel != "osv":
        pytest.skip("the program is one of OSv's own tests")
    program = Program(
        "tcp_close_without_reading",
        "/tests/misc-tcp-close-without-reading.so",
        limit=120,
        network=True,
        forwards=(PORT,),
    )
    run_guest(cell, program, Visit(act=send_until_closed, line="listening...", serves=False))


def send_until_closed(visitor: Visitor) -> None:
    """Send to the guest until it, or its end, breaks the connection."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", visitor.ports[PORT]), timeout=30) as client,
    ):
        while True:
            client.sendall(b"." * 1024)
