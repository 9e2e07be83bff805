"""Load: what is measured, what fails and who is to blame are said rightly, and nothing is left behind."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shutil import which
from time import sleep

import psutil
import pytest
from load_server import Running

from harness.errors import HarnessError
from harness.load import Load, Result, Second, load_from, locust_processes, run
from harness.load.latency import decoded

GOOD = {"path": "/", "body": "hello\n"}


@pytest.fixture
def serve() -> Iterator[Callable[[str], Running]]:
    """Starts servers of a protocol."""
    servers = []

    def start(protocol: str = "http") -> Running:
        servers.append(Running(protocol))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.communicate()


def http(*requests: dict[str, object], tool: str = "locust", **more: object) -> Load:
    """A load of HTTP requests, short."""
    return load_from("x", {"tool": tool, "user": "http", "duration": 1.0, "requests": requests or [GOOD], **more})


def asked_of(port: int, *requests: dict[str, object], **more: object) -> Result:
    """What became of a load on a server."""
    return run(http(*requests, **more), "127.0.0.1", port)


def locusts() -> list[psutil.Process]:
    """The generators below this process."""
    return [child for child in psutil.Process().children(recursive=True) if "locust" in " ".join(child.cmdline())]


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


@contextmanager
def busy(cpu: int) -> Iterator[None]:
    """This thread, and what it starts, on one cpu, which three others keep busy."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("tool", ["locust", "wrk"])
def test_a_starved_generator_is_marked(serve: Callable[..., Running], tool: str) -> None:
    needs(tool)
    server = serve()
    with busy(min(os.sched_getaffinity(0))):
        result = asked_of(server.port, tool=tool, users=4)
    assert result.requests
    assert result.generator.limited
    assert "waited for a cpu" in result.generator.why
    assert result.generator.cpu_share < 0.9


def test_a_rate_that_the_generator_can_not_reach_is_marked(serve: Callable[..., Running]) -> None:
    slow_to_make = {f"X-{number}": "{n}" for number in range(300)}
    result = asked_of(serve().port, {**GOOD, "headers": slow_to_make}, users=2, rate=20_000.0, duration=0.2)
    assert result.requests
    assert result.generator.limited
    assert result.throughput < 20_000


def test_a_generator_with_room_is_not_marked(serve: Callable[..., Running]) -> None:
    for _ in range(10):  # Others may take the cpus meanwhile, which rightly marks it.
        result = asked_of(serve().port, users=2, rate=20.0)
        if not result.generator.limited:
            break
    assert not result.generator.limited, result.generator.why
    assert 0 < result.generator.cpu_share < 0.9
    assert result.generator.schedule_lag_p99 > 0


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
    monkeypatch.setattr(locust_processes, "PATIENCE", 0.5)
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


@pytest.mark.parametrize("tool", ["locust", "wrk"])
def test_a_load_is_stopped_early_and_tells_what_it_has(serve: Callable[..., Running], tool: str) -> None:
    needs(tool)
    stop = threading.Event()

    def seen(second: Second) -> None:
        if second.requests:
            stop.set()

    if tool == "wrk":  # which tells nothing of its seconds
        threading.Timer(2.5, stop.set).start()
    result = run(http(tool=tool, users=2, duration=600.0), "127.0.0.1", serve().port, on_second=seen, stop=stop)
    assert result.seconds < 600
    assert (result.error, result.failures) == ("", {})
    assert result.requests
    assert 0 < result.seconds < 30


def test_a_load_is_stopped_before_it_began(serve: Callable[..., Running]) -> None:
    stop = threading.Event()
    stop.set()
    result = run(http(users=2, duration=60.0), "127.0.0.1", serve().port, stop=stop)
    assert (result.requests, result.failures, result.error, result.by_second) == (0, {}, "", ())


def test_a_generator_that_dies_is_not_the_server_s_fault(serve: Callable[..., Running]) -> None:
    def seen(_: Second) -> None:
        locusts()[0].kill()

    result = run(http(users=2, duration=5.0), "127.0.0.1", serve().port, on_second=seen)
    assert "SIGKILL" in result.error
    assert result.failures == {}
    assert not locusts()


def test_a_generator_that_can_not_start_says_why(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve().port
    monkeypatch.setattr(sys, "executable", "/bin/no-python")
    assert "no-python" in asked_of(port).error
    monkeypatch.setenv("PATH", "/nowhere")
    assert "setpriv" in asked_of(port, tool="wrk").error


CALLER = """
import sys
from harness.load import load_from, run
requests = [{"path": "/"}]
load = load_from("x", {"tool": sys.argv[2], "user": "http", "users": 2, "duration": 60.0, "requests": requests})
run(load, "127.0.0.1", int(sys.argv[1]), on_second=lambda second: print("going", flush=True))
"""


@pytest.mark.parametrize("tool", ["locust", "wrk"])
def test_nothing_is_left_of_a_harness_that_is_killed(serve: Callable[..., Running], tool: str) -> None:
    needs(tool)
    command = [sys.executable, "-c", CALLER, str(serve().port), tool]
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    if tool == "locust":
        assert caller.stdout.readline() == "going\n"
    while not (generators := psutil.Process(caller.pid).children(recursive=True)):
        sleep(0.05)
    sleep(0.5)
    listening = [row for process in generators for row in process.net_connections() if row.status == "LISTEN"]
    files = [file.path for process in generators for file in process.open_files() if "deleted" not in file.path]
    caller.kill()
    caller.communicate()
    assert not listening
    assert not [path for path in files if "/tmp" in path]
    _, alive = psutil.wait_procs(generators, timeout=5)
    assert not alive


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
    assert "load.busy" in raised.value.happened
    assert said in str(raised.value)


def needs(program: str) -> None:
    """Skip where a generator is not installed."""
    if program != "locust" and which(program) is None:
        pytest.skip(f"{program} is not installed")
