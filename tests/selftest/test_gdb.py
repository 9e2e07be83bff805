"""The debug stub's client, where a real guest shows the situation too seldom."""

import os
import socket

import pytest

from harness.errors import HypervisorError
from harness.hypervisors._gdb import GdbRemote


def test_an_end_that_crosses_a_question_is_the_guests_end() -> None:
    """Seen once on a guest that powered off as it was asked for its registers."""
    ours, stub = socket.socketpair()
    with ours, stub:
        stub.sendall(b"+$OK#9a")
        gdb = GdbRemote(ours, os.getpid())
        stub.sendall(b"+$W00#b7")
        with pytest.raises(HypervisorError, match="guest has ended"):
            gdb.register(16)
