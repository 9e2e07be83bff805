"""Connections for which a listener has no room: seen where they happen, told in the result, and no number then."""

import shutil
import socket

import pytest

from harness.load.listen_drops import listen_drops, why_limited
from harness.load.redis_benchmark import _with_drops
from harness.load.result import Generator, Result

pytestmark = pytest.mark.skipif(shutil.which("ss") is None, reason="ss is not installed")


def test_those_that_find_no_room_are_counted_at_their_port() -> None:
    """A listener with room for one, as QEMU's user network is, and which accepts none."""
    users = []
    with socket.socket() as busy, socket.create_server(("127.0.0.1", 0)) as free:
        busy.bind(("127.0.0.1", 0))
        busy.listen(1)
        port = busy.getsockname()[1]
        assert listen_drops(port) == 0
        for _ in range(16):
            user = socket.socket()
            user.setblocking(False)
            user.connect_ex(("127.0.0.1", port))
            users.append(user)
        assert listen_drops(port) > 0
        assert listen_drops(free.getsockname()[1]) == 0
    for user in users:
        user.close()


def test_a_result_with_such_connections_says_nothing_of_the_server() -> None:
    result = Result("redis-benchmark", "most", "closed loop", requests=1600, seconds=8.4)
    assert _with_drops(result, 0) == result
    limited = _with_drops(Result("x", "most", "closed loop", generator=Generator(limited=True, why="a cpu")), 3)
    assert limited.generator.limited and limited.generator.why == f"{why_limited(3)}; a cpu"
    assert _with_drops(result, 1).generator.limited and "no room for a connection once" in why_limited(1)
