"""Apps: what their files may say, and what becomes of programs that serve badly, on guests under load."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import HarnessError, HostError
from harness.kernels.rootfs.contents import Contents
from harness.report.load_results import measured, write_loads
from harness.runner.base import Program
from harness.runner.linux.agent import Agent
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps
from harness.workloads.apps import run as run_module
from harness.workloads.apps.app import App, Source, app
from harness.workloads.apps.run import AppRun, OnSecond, run_app
from harness.workloads.load.run import load_from

SERVER = Path(__file__).parents[1] / "data/guest_programs" / "server.c"
RIGHT = {"get": "/", "body": "right\n"}
STEADY = load_from(
    "steady",
    {"tool": "locust", "user": "http", "users": 2, "rate": 50, "duration": 2.0,
     "requests": [{"path": "/", "body": "right\n"}]},
)  # fmt: skip
BADLY = App(
    name="badly", summary="", contents=Contents(("libc6",), ()), command="/server right", environment={},
    memory=128, cpus=1, port=8080, ready=10.0, limit=10.0, checks=(RIGHT,), inside=(), prints=(),
    statuses=(0, 143),    loads={"steady": STEADY}, source=Source(SERVER, "c", "/server"), slow_start=False,
)  # fmt: skip


@pytest.fixture
def cell(session: Session) -> Cell:
    """Where the apps run here."""
    return session.cell("linux:qemu-rofs")


@pytest.fixture
def serve(session: Session, cell: Cell) -> Callable[..., AppRun]:
    """Runs the server in a mode."""

    def run(mode: str, on_second: OnSecond | None = None, **changes: Any) -> AppRun:
        return run_app(session, cell, replace(BADLY, command=f"/server {mode}", **changes), on_second=on_second)

    return run


@pytest.mark.parametrize("name", ["nginx", "redis"])
def test_real_servers_answer_rightly_under_load(session: Session, cell: Cell, name: str) -> None:
    """What CI shows of every pass: answers in every load, none of them wrong, and their latencies."""
    done = run_app(session, cell, app(name, cell), duration=2.0)
    assert (done.run.verdict.outcome, done.run.verdict.reason) == (
        Outcome.PASSED, "the program answered rightly to the end, and ended when it was asked to",
    )  # fmt: skip
    assert len(done.loads) == 2
    for result in done.loads:
        assert result.requests > 100 and not result.failures and not result.error
        assert 0 < result.percentile(50) <= result.percentile(99)
    assert done.memory.private > 30 << 20 and done.ready_seconds > 0


def test_a_fork_that_was_ready_serves_as_a_booted_guest_does(serve: Callable[..., AppRun]) -> None:
    done = serve("right", slow_start=True)
    assert done.run.verdict.outcome is Outcome.PASSED
    assert done.run.origin == "forked when ready"
    assert b"Linux version" not in done.run.transcript.raw, "its console begins after the boot"


@pytest.mark.parametrize(
    ("mode", "outcome", "reason"),
    [
        ("right", "passed", "answered rightly to the end"),
        ("lies 0", "hung", "never got ready"),
        ("silent", "hung", "never got ready"),
        ("lies 20", "failed", "wrong body"),
        ("resets 20", "failed", "under load (steady)"),
        ("exits 20", "failed", "ended with status 3, while the host loaded it (steady"),
        ("ends 20", "guest_ended", "ended before it was asked to: with status 0, while the host loaded it"),
        ("aborts 20", "failed", "ended with status 134, while the host loaded it"),
        ("panics 20", "crashed", "Kernel panic - not syncing: sysrq triggered crash, while the host loaded it"),
        ("leaks 20", "failed", "ended with status 137, while the host"),
        ("deaf", "hung", "did not end when it was asked to"),
    ],
)
def test_what_becomes_of_a_server(serve: Callable[..., AppRun], mode: str, outcome: str, reason: str) -> None:
    short = mode in ("lies 0", "silent")
    verdict = serve(mode, ready=1.0 if short else 10.0).run.verdict
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), verdict.reason


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ({"process": "server", "socket": "tcp://0.0.0.0:8080", "package": "libc6"}, ""),
        ({"file": "/etc/passwd", "contains": "nobody:"}, ""),
        ({"process": "nginx"}, "no process nginx runs in the guest"),
        ({"socket": "tcp://0.0.0.0:81"}, "nothing listens on tcp://0.0.0.0:81"),
        ({"package": "nginx"}, "the package nginx is not in the guest"),
        ({"file": "/nowhere"}, "the guest has no file /nowhere"),
        ({"file": "/etc/passwd", "contains": "somebody"}, "/etc/passwd in the guest does not contain 'somebody'"),
    ],
)  # fmt: skip
def test_what_is_seen_inside(serve: Callable[..., AppRun], row: dict[str, str], wrong: str) -> None:
    """testinfra's words, asked of the guest itself."""
    verdict = serve("right", inside=(row,), loads={}).run.verdict
    assert verdict.outcome == ("failed" if wrong else "passed")
    assert wrong in verdict.reason


def test_what_a_server_says_reaches_no_terminal(serve: Callable[..., AppRun], tmp_path: Path) -> None:
    """Escape sequences in an answer are shown as text, in the verdict and in what is kept of the load."""
    done = serve("escapes 20")
    assert done.run.verdict.outcome is Outcome.FAILED
    write_loads(done, tmp_path)
    shown = done.run.verdict.reason + json.dumps(measured(done)) + (tmp_path / "loads.json").read_text()
    assert "\x1b" not in shown and "\\u001b" not in shown and "\x07" not in shown


def test_what_a_server_said_last_reaches_no_terminal(serve: Callable[..., AppRun]) -> None:
    """A verdict quotes it when the program ends before it was ready."""
    reason = serve("escapes 0 & sleep 2; exit 5").run.verdict.reason
    assert "status 5" in reason and "last got: GET /" in reason
    assert reason.isprintable()


def test_a_visit_that_takes_too_long_is_ours(
    session: Session, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest serves all the while: it is not the one that is late."""
    monkeypatch.setattr(run_module, "INTERACTION_SECONDS", 2.0)
    # the guest waits for a busy host, and its limits wait with it: for most of the time at worst
    monkeypatch.setattr(run_module, "LOAD_SECONDS", -20.0)
    verdict = run_app(session, cell, BADLY, duration=20.0).run.verdict
    assert verdict.outcome is Outcome.HARNESS_ERROR and "the interaction took more than" in verdict.reason


def test_a_status_that_is_none_is_not_taken(session: Session) -> None:
    """A guest may say a number of a million digits."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        agent = Agent(ours)
        theirs.sendall(b"exited a " + b"9" * 50_000 + b"\nexited b 7\n")
        while "b" not in agent.exited:
            agent.listen()
    assert agent.exited == {"b": 7}


def test_loads_that_cant_be_kept_are_the_hosts_fault(serve: Callable[..., AppRun], tiny_disk: Path) -> None:
    done = serve("right")
    (tiny_disk / "full").write_bytes(bytes(1 << 20))
    with pytest.raises(HostError, match="No space left"):
        write_loads(done, tiny_disk)


def test_a_stall_in_mid_load_shows_in_the_latencies(serve: Callable[..., AppRun]) -> None:
    """It is no wrong answer, so the app passes; its requests were due all the while, so the tail tells."""
    done = serve("stalls 40")
    assert done.run.verdict.outcome is Outcome.PASSED
    assert done.loads[0].percentile(99) > 1_000_000


def test_a_guest_that_serves_reaches_nothing(session: Session, cell: Cell) -> None:
    """Not even this host; who listens here hears of no one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        port = listener.getsockname()[1]
        program = Program("reaches", f"nc -w 2 10.0.2.2 {port} < /dev/null", 20, network=True, forwards=(80,))
        assert session.run(cell, program).verdict.outcome is Outcome.FAILED
        with pytest.raises(TimeoutError):
            listener.accept()
        # The same guest without a port of its own is an ordinary client.
        listener.settimeout(60)
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        assert session.run(cell, replace(program, forwards=())).verdict.outcome is Outcome.PASSED


def test_a_port_that_is_taken_is_the_programs_own_failure(serve: Callable[..., AppRun]) -> None:
    verdict = serve("right & sleep 0.5; exec /server right").run.verdict
    assert verdict.outcome is Outcome.FAILED and "status 1" in verdict.reason


def test_a_generator_that_dies_is_not_blamed_on_the_guest(serve: Callable[..., AppRun]) -> None:
    """It is killed once it has begun to ask."""
    done = serve("right", on_second=lambda load, second: [os.kill(pid, signal.SIGKILL) for pid in _generators()])
    assert done.run.verdict.outcome is Outcome.HARNESS_ERROR
    assert "the load generator failed (steady)" in done.run.verdict.reason


def _generators() -> list[int]:
    """The processes of locust that this process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, parent = int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"locust" in (path.parent / "cmdline").read_bytes():
                found.append(pid)
    return found


def test_no_such_package_is_said_in_apts_words(session: Session, cell: Cell) -> None:
    missing = replace(BADLY, contents=Contents(("no-such-package-at-all",), ()))
    with pytest.raises(HarnessError, match="no-such-package-at-all"):
        run_app(session, cell, missing)


def test_a_missing_library_is_named(session: Session, cell: Cell, tmp_path: Path) -> None:
    library = tmp_path / "libneeded.so.7"
    flags = ["-shared", "-fPIC", "-Wl,-soname,libneeded.so.7", "-xc", "-"]
    subprocess.run(["gcc", *flags, "-o", str(library)], input=b"int needed(void) { return 0; }", check=True)
    source = replace(BADLY.source, flags=("-Wl,--no-as-needed", str(library)))
    with pytest.raises(HarnessError, match=r"libneeded\.so\.7, wanted by /server, is in none of the packages"):
        run_app(session, cell, replace(BADLY, source=source))


def test_every_app_file_is_right(session: Session) -> None:
    """On every kernel and arch where it is offered."""
    for kernel in ("linux", "osv"):
        for arch in ("x86_64", "aarch64"):
            cell = session.cell(f"{kernel}:{arch}-qemu-rofs-all")
            for name in apps.names_for(cell):
                one = app(name, cell)
                assert one.summary and one.command and (one.port == 0 or one.checks)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sumary = 'x'", "unknown key sumary"),
        ("port = 80\npackages = []", r"no \[\[check\]\]"),
        ("packages = [", "is no TOML"),
        ("packages = []\n[load.x]\ntool = 'wkr'\nrequests = []", "wkr"),
        ("summary = 'x'", "packages"),
    ],
)
def test_a_wrong_file_is_explained(
    session: Session, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps/wrong.toml").write_text(text)
    monkeypatch.setenv(project.VARIABLE, str(tmp_path))
    with pytest.raises(HarnessError, match=words):
        app("wrong", cell)


def test_an_unknown_app_or_load_gets_its_nearest_names(session: Session, cell: Cell) -> None:
    with pytest.raises(HarnessError, match="nearest are: nginx"):
        app("ngnix", cell)
    with pytest.raises(HarnessError, match=r"no load stedy.*\n.*steady"):
        run_app(session, cell, BADLY, ["stedy"])
