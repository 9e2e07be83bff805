"""Load: what is measured is right, in its unit and of its kind, whatever becomes of the server."""

import threading
from collections.abc import Callable, Iterator

import pytest
from load_server import Running
from short_loads import GOOD, asked_of, http, serving

from harness.core.errors import HarnessError
from harness.workloads.load.locust_load import driver as locust_processes
from harness.workloads.load.run import Result, Second, load_from, run


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers of a protocol."""
    with serving() as start:
        yield start


def test_a_freeze_is_seen_at_a_constant_rate_and_hidden_by_a_closed_loop(serve: Callable[..., Running]) -> None:
    results = {}
    for rate in (200.0, 0.0):
        server = serve()
        live: list[Second] = []
        load = http(users=2, rate=rate, duration=5.0)
        freeze = threading.Thread(target=server.freeze, args=(0.5, 2.0))

        def seen(second: Second, live: list[Second] = live, freeze: threading.Thread = freeze) -> None:
            live.append(second)
            if len(live) == 1:
                freeze.start()

        results[rate] = run(load, "127.0.0.1", server.port, on_second=seen)
        freeze.join()
        assert not results[rate].error
        assert tuple(live) == results[rate].by_second
        assert min(second.requests for second in live) < max(second.requests for second in live) / 4
    rated, closed = results[200.0], results[0.0]
    assert rated.mode == "constant rate"
    assert closed.mode == "closed loop"
    assert rated.requests == 1000
    assert not rated.failures
    assert 1e6 < rated.percentile(99.9) < 4e6
    # 2 of 5 seconds, all of whose requests waited: 40 % at 0 to 2 s.
    assert rated.percentile(80) > 3e5
    # Two requests of thousands waited.
    assert closed.percentile(99.9) < 1e6 < closed.percentile(100)


def test_latencies_are_in_microseconds(serve: Callable[..., Running]) -> None:
    result = asked_of(serve().port, users=1)
    assert 20 < result.percentile(50) < 1e6
    assert any(result.percentile(p) % 1000 for p in (25, 50, 75))
    assert result.percentile(50) <= result.percentile(99) <= result.percentile(100)
    assert result.requests == sum(second.requests for second in result.by_second)
    assert result.bytes == 6 * result.requests
    assert result.seconds >= 1.0
    assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"path": "/", "body": "hallo\n"}, "wrong body"),
        ({"path": "/", "contains": "hal"}, "wrong body"),
        ({"path": "/", "length": 5}, "wrong body"),
        ({"path": "/status/500"}, "status 500"),
        ({"path": "/status/302"}, "status 302"),
        ({"path": "/reset"}, "connection reset"),
        ({"path": "/reset", "method": "POST", "send": "x"}, "connection reset"),
        ({"path": "/close"}, "connection closed"),
        ({"path": "/half"}, "connection closed"),
    ],
)
def test_each_failure_has_its_kind(serve: Callable[..., Running], request_: dict[str, object], kind: str) -> None:
    result = asked_of(serve().port, request_, users=2, rate=20.0)
    assert result.failures == {kind: 20}
    assert (result.requests, result.bytes, result.error) == (0, 0, "")
    assert result.percentile(50) != result.percentile(50)


def test_no_reset_is_hidden_by_asking_again(serve: Callable[..., Running]) -> None:
    result = asked_of(serve().port, {"path": "/sometimes-reset"}, users=1, rate=20.0)
    assert (result.requests, result.failures) == (10, {"connection reset": 10})


def test_right_and_wrong_answers_are_told_apart(serve: Callable[..., Running]) -> None:
    wrong = {"path": "/other", "body": "hello\n", "weight": 0.5}
    port = serve().port
    first, again, other = (
        run(http(GOOD, wrong, users=2, rate=200.0), "127.0.0.1", port, seed=seed) for seed in (1, 1, 2)
    )
    assert first.requests + first.failures["wrong body"] == 200
    assert 100 < first.requests < 170
    assert (first.requests, first.failures) == (again.requests, again.failures)
    assert first.by_second != other.by_second


def test_a_request_s_number_is_filled_in(serve: Callable[..., Running]) -> None:
    result = asked_of(serve().port, {"path": "/it-is-{n}", "body": "it-is-{n}"}, users=2, rate=50.0)
    assert (result.requests, result.failures) == (50, {})


def test_nothing_listens() -> None:
    result = asked_of(1, users=2, rate=20.0)
    assert result.failures == {"refused": 20}
    assert not result.error


def test_a_server_that_never_answers(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locust_processes, "REQUEST_TIMEOUT", 0.5)
    result = asked_of(serve().port, {"path": "/never"}, users=2, rate=20.0)
    assert result.failures == {"timeout": 20}
    assert asked_of(serve().port, {"path": "/never"}, users=2).failures.keys() == {"timeout"}


def test_a_server_that_dies_in_the_middle(serve: Callable[..., Running]) -> None:
    server = serve()
    live: list[Second] = []

    def seen(second: Second) -> None:
        live.append(second)
        server.process.kill()

    result = run(http(users=2, rate=100.0, duration=3.0), "127.0.0.1", server.port, on_second=seen)
    assert not result.error
    assert 90 < result.requests < 200
    assert set(result.failures) <= {"connection reset", "connection closed", "refused"}
    assert result.requests + sum(result.failures.values()) == 300
    assert not live[0].failures
    assert not live[-1].requests


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tool": "locus"}, "locust"),
        ({"user": "htp"}, "http"),
        ({"rat": 5}, "rate"),
        ({"users": 0}, "more than 0"),
        ({"users": "4"}, "number"),
        ({"rate": -1}, "requests/s"),
        ({"requests": []}, "path"),
        ({"requests": [{"paht": "/"}]}, "path"),
        ({"requests": ["/"]}, "path"),
        ({"requests": [{"weight": 0}]}, "more than 0"),
        ({"user": "redis", "requests": [{"answer": "OK"}]}, "pipeline"),
        ({"tool": "wrk", "rate": 5}, "locust"),
        ({"tool": "wrk", "user": "redis"}, "http"),
        ({"tool": "wrk", "requests": [{"path": "/{n}"}]}, "{n}"),
        ({"tool": "redis-benchmark", "user": "redis", "requests": [{"pipeline": [["GET", "k"]]}]}, "command"),
        ({"tool": "redis-benchmark", "user": "redis", "requests": [{"command": [], "answer": "x"}]}, "answer"),
    ],
)
def test_a_wrong_load_is_named(changed: dict[str, object], said: str) -> None:
    row: dict[str, object] = {"tool": "locust", "user": "http", "requests": [GOOD]}
    with pytest.raises(HarnessError) as raised:
        load_from("busy", {**row, **changed})
    assert "load.busy" in raised.value.message
    assert said in str(raised.value)
