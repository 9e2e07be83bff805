"""The debug stub's client, where a real guest shows the situation too seldom."""

import os
import socket

import pytest

from harness.core.errors import HypervisorError
from harness.vm.gdb_remote import GdbRemote
from harness.vm.gdb_socket import gdb_socket


def test_an_end_that_crosses_a_question_is_the_guests_end() -> None:
    """Seen once on a guest that powered off as it was asked for its registers."""
    ours, stub = socket.socketpair()
    with ours, stub:
        stub.sendall(b"+$OK#9a")
        gdb = GdbRemote(ours, os.getpid())
        stub.sendall(b"+$W00#b7")
        with pytest.raises(HypervisorError, match="guest has ended"):
            gdb.register(16)


def test_a_gdb_is_joined_to_the_stub_by_a_socket_of_this_users() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, gdb_socket(ours) as path:
        assert path.parent.stat().st_mode & 0o077 == 0
        with socket.socket(socket.AF_UNIX) as gdb:
            gdb.connect(str(path))
            gdb.sendall(b"$g#67")
            assert theirs.recv(16) == b"$g#67"
            theirs.sendall(b"$1234#ca")
            assert gdb.recv(16) == b"$1234#ca"
    assert not path.parent.exists()


def test_a_socket_that_no_gdb_came_to_goes_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with gdb_socket(ours) as path:
            pass
        assert not path.parent.exists()
        theirs.sendall(b"x")  # nobody reads the stub any more
        assert ours.recv(1) == b"x"
