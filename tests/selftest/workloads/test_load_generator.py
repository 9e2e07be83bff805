"""The generator of a load: marked where it was the limit, no server's fault where it fails, nothing left of it."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import sleep

import psutil
import pytest
from crowd import crowd
from load_server import Running
from short_loads import GOOD, asked_of, http, needs, serving

from harness.workloads.load.run import Second, run


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers of a protocol."""
    with serving() as start:
        yield start


def locusts() -> list[psutil.Process]:
    """The generators below this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a helper of theirs may end meanwhile
            if "locust" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.mark.parametrize("tool", ["locust", "wrk"])
def test_a_starved_generator_is_marked(serve: Callable[..., Running], tool: str) -> None:
    needs(tool)
    server = serve()
    with crowd():
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
    """The answers take so long that what others of the host delay is little of it."""
    for _ in range(10):  # Others may take the cpus meanwhile, which rightly marks it.
        result = asked_of(serve().port, {**GOOD, "path": "/after/0.3"}, users=20, rate=20.0)
        if not result.generator.limited:
            break
    assert not result.generator.limited, result.generator.why
    assert 0 < result.generator.cpu_share < 0.9
    assert result.generator.schedule_lag_p99 > 0


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
from harness.workloads.load.run import load_from, run
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
    listening, files = [], []
    for process in generators:
        with suppress(psutil.NoSuchProcess):  # a helper of theirs may end meanwhile
            listening += [row for row in process.net_connections() if row.status == "LISTEN"]
            files += [file.path for file in process.open_files() if "deleted" not in file.path]
    caller.kill()
    caller.communicate()
    assert not listening
    assert not [path for path in files if "/tmp" in path]
    _, alive = psutil.wait_procs(generators, timeout=5)
    assert not alive
