"""Connections for which a listener has no room: seen where they happen, told in the result, and no number then."""

import shutil
import signal
import socket
import threading
import time

import pytest
from load_server import Running
from short_loads import http, needs

from harness.workloads.load.histogram import empty, encoded, record
from harness.workloads.load.listen_drops import listen_drops, why_limited, with_drops
from harness.workloads.load.result import Generator, Result
from harness.workloads.load.run import run

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
    assert with_drops(result, 0) == with_drops(result, -2) == result
    limited = with_drops(Result("x", "most", "closed loop", generator=Generator(limited=True, why="a cpu")), 3)
    assert limited.generator.limited and limited.generator.why == f"{why_limited(3)}; a cpu"
    assert with_drops(result, 1).generator.limited and "no room for a connection once" in why_limited(1)


def test_at_a_constant_rate_they_count_where_an_answer_was_late_for_them() -> None:
    prompt, late = empty(), empty()
    for histogram in (prompt, late):
        record(histogram, 1500, 1000)
    record(late, 1_024_000)
    results = [Result("locust", "steady", "constant rate", histogram=encoded(one)) for one in (prompt, late)]
    assert [with_drops(one, 4).generator.limited for one in results] == [False, True]


@pytest.mark.parametrize("tool", ["locust", "wrk"])
def test_a_load_by_any_generator_sees_them(tool: str) -> None:
    """A server with room for one connection, as QEMU's user network has, that takes none while all come."""
    needs(tool)
    load = http(tool=tool, users=8)
    server = Running("http", room=1)
    stopped = threading.Thread(target=_stop_until_one_is_dropped, args=(server,))
    try:
        stopped.start()
        busy = run(load, "127.0.0.1", server.port)
        stopped.join()
        assert listen_drops(server.port) > 0, "none was dropped"
        assert busy.requests and not busy.failures and not busy.error
        assert busy.mode == "closed loop" and busy.generator.limited
        assert busy.generator.why.startswith("the forwarded port had no room for a connection")
    finally:
        server.process.kill()
        server.process.communicate()


def _stop_until_one_is_dropped(server: Running) -> None:
    server.process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while listen_drops(server.port) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    server.process.send_signal(signal.SIGCONT)
