"""What is wrong when `osv-harness serve` is started is said in a sentence; and it ends when it is told to."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from history_records import judged
from served import HARNESS, served

from harness.metrics.history.store import History

FIRST_OF_ALL = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = str(tmp_path / "history.sqlite")
    with History(made) as history:
        history.add([judged(), judged(outcome="failed", expected=False, reason="status 1", taken=1e6)])
    return made


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which something listens already."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def said(words: list[str], *before: str, program: tuple[str, ...] = HARNESS) -> str:
    """What the command says as it fails, which is no traceback."""
    done = subprocess.run([*before, *program, "serve", *words], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 2
    return done.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--port", "TAKEN"], "is taken"),
        (["--port", "99999"], "There is no port 99999"),
        (["--listen", "192.0.2.1"], "no address of this host"),
        (["--listen", "no.such.host.invalid"], "no address of this host"),
        (["--url", "osv.example"], "is no address of a page"),
        (["--user-header", "X User"], "is no header's name"),
        (["--farm", "here"], "is no address of a farm"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(url: str, taken: int, words: list[str], wanted: str) -> None:
    given = [str(taken) if word == "TAKEN" else word for word in words]
    assert wanted in said(["--history", url, "--port", "0", *given])


def test_a_history_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"
    assert "There is no history at" in said(["--history", str(path)])
    assert not path.exists()


def test_a_port_of_roots_is_said_to_be(url: str) -> None:
    if int(FIRST_OF_ALL.read_text()) <= 80:
        pytest.skip("every user may listen at every port here")
    without = ["setpriv", "--bounding-set", "-net_bind_service"] if os.getuid() == 0 else []
    assert "is root's" in said(["--history", url, "--port", "80"], *without)


def test_a_missing_package_is_said_with_its_extra(url: str) -> None:
    hidden = "import sys; sys.modules['fastapi'] = None; from harness.cli import main; sys.exit(main())"
    words = said(["--history", url], program=(sys.executable, "-c", hidden))
    assert "fastapi is missing" in words and "osv-harness[serve]" in words


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_ends_when_it_is_told_to(url: str, tmp_path: Path, how: int, status: int) -> None:
    """While somebody listens to events that have no end, another waits for a writer who holds the history, and a
    farm could be given work."""
    farm = "--farm", "tcp://127.0.0.1:9", "--runs", str(tmp_path / "runs")
    with served(tmp_path, url, *farm) as one, closing(sqlite3.connect(url, isolation_level=None)) as holding:
        token = one.get("/api/session")["token"]
        (failure,) = one.facts()["failures"]
        stream = one.streamed("/api/events")
        assert b"200 OK" in stream.recv(1000)
        holding.execute("BEGIN IMMEDIATE")
        body = {"action": "reopen", "subject": failure["subject"]}

        def ask() -> None:
            with suppress(Exception):
                one.post("/api/triage", body, X_CSRF_Token=token)

        asking = threading.Thread(target=ask)
        asking.start()
        assert one.end(how) == status
        holding.rollback()
        asking.join()
        stream.close()
        assert "Traceback" not in one.words and len(one.words.splitlines()) == 1
