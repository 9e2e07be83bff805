"""wrk and redis-benchmark, which ask as fast as they are answered: each answer counted once, each failure seen."""

import threading
from collections.abc import Callable, Iterator

import pytest
from load_server import Running
from short_loads import GOOD, asked_of, needs, serving

from harness.workloads.load.histogram import decoded
from harness.workloads.load.run import Load, load_from, run


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers of a protocol."""
    with serving() as start:
        yield start


@pytest.mark.parametrize(
    ("request_", "kind"),
    [({"path": "/", "body": "hallo\n"}, "wrong body"), ({"path": "/status/404"}, "status 404"),
     ({"path": "/reset"}, "connection broken"), ({"path": "/never"}, "timeout")],
)  # fmt: skip
def test_wrk_sees_failures_too(serve: Callable[..., Running], request_: dict[str, object], kind: str) -> None:
    needs("wrk")
    result = asked_of(serve().port, request_, tool="wrk", users=2)
    assert set(result.failures) == {kind}
    assert (result.requests, result.error) == (0, "")


def test_wrk_counts_every_answer_once(serve: Callable[..., Running]) -> None:
    needs("wrk")
    wrong = {"path": "/status/404"}
    result = asked_of(serve().port, GOOD, wrong, tool="wrk", users=2)
    assert result.requests
    assert set(result.failures) == {"status 404"}
    assert decoded(result.histogram).get_total_count() == result.requests + result.failures["status 404"]
    assert 10 < result.percentile(50) < 1e6
    assert asked_of(1, tool="wrk").failures == {"refused": 1}


def test_wrk_s_own_correction_is_taken_out(serve: Callable[..., Running]) -> None:
    needs("wrk")
    server = serve()
    freeze = threading.Thread(target=server.freeze, args=(0.5, 1.5))
    freeze.start()
    result = asked_of(server.port, tool="wrk", users=2, duration=3.0)
    freeze.join()
    assert decoded(result.histogram).get_total_count() == result.requests
    assert result.percentile(99.9) < 1e6 < result.percentile(100)


def redis_load(*command: str, **more: object) -> Load:
    row = {"tool": "redis-benchmark", "users": 4, "duration": 1.0, "requests": [{"command": [*command]}]}
    return load_from("x", {**row, **more})


def test_redis_benchmark(serve: Callable[..., Running]) -> None:
    needs("redis-benchmark")
    server = serve("redis")
    result = run(redis_load("PING"), "127.0.0.1", server.port)
    assert (result.failures, result.error) == ({}, "")
    assert result.requests
    assert decoded(result.histogram).get_total_count() == result.requests
    assert 10 < result.percentile(50) < 1e6
    assert run(redis_load("NONE"), "127.0.0.1", server.port).failures == {"error answer": 1}
    assert run(redis_load("PING"), "127.0.0.1", 1).failures == {"refused": 1}


def test_redis_benchmark_s_server_dies(serve: Callable[..., Running]) -> None:
    needs("redis-benchmark")
    server = serve("redis")
    timer = threading.Timer(1.5, server.process.kill)
    timer.start()
    result = run(redis_load("PING", duration=5.0), "127.0.0.1", server.port)
    assert not result.error
    assert sum(result.failures.values()) == 1
