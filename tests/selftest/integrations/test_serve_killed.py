"""What `osv-harness serve` has acknowledged is there when it is killed; what it was asked for goes on.

OSV_HARNESS_KILLS says how often it is killed on each database (default: 3).
"""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from farm_processes import farm
from history_places import Postgresql, private_postgresql
from planted_nights import CELLS, Planted
from served import Server, served

from harness.metrics.history.records import Action, Triage
from harness.metrics.history.store import History

KILLS = int(os.environ.get("OSV_HARNESS_KILLS", "3"))
CLIENTS = 4
LONGEST_LIFE = 0.5  # seconds
NIGHTS = 6
LINUX = next(cell for cell in CELLS if cell.startswith("linux:"))
NOTE = "n" * 2000


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """One test breaks on Linux."""
    return ("failed", False, "status 1") if (test, cell, night) == ("tst-c.so", LINUX, NIGHTS - 1) else None


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with private_postgresql() as one:
        yield one


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return filled(str(tmp_path / "history.sqlite"))
    new: Callable[[], str] = request.getfixturevalue("server").new
    return filled(new())


def filled(url: str) -> str:
    """A small history, that a page is made of soon."""
    told = Planted(NIGHTS, says).told()
    with History(url) as history:
        history.add([one for one in told.judged if one.cell == LINUX])
    return url


class Client(threading.Thread):
    """Sends one decision after another until the server is gone; it was told that those in `answered` are kept."""

    def __init__(self, server: Server, about: dict[str, str], token: str) -> None:
        super().__init__()
        self._server = server
        self._about = about
        self._token = token
        self.sent: list[str] = []
        self.answered: list[str] = []

    def run(self) -> None:
        """Until a connection fails."""
        while True:
            self.sent.append(uuid4().hex)
            body = {"action": "acknowledge", **self._about, "note": NOTE, "id": self.sent[-1]}
            try:
                answer = self._server.post("/api/triage", body, X_CSRF_Token=self._token)
            except (OSError, EOFError, ValueError):
                return
            except Exception as error:
                assert "HTTP" in type(error).__mro__[1].__name__, error
                return
            assert answer.status == 201, answer
            self.answered.append(self.sent[-1])


def test_a_killed_server_loses_nothing_that_it_acknowledged(
    url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each decision is there whole, or is not there; a retry of one whose answer was lost is kept once."""
    told = 0
    lost: list[str] = []
    for _ in range(KILLS):
        with served(tmp_path, url) as one:
            failure = one.facts()["failures"][0]
            about = {"subject": failure["subject"], "identity": failure["identity"]}
            token = one.get("/api/session")["token"]
            for old in lost:  # by now answered or not, it is sent again
                body = {"action": "acknowledge", **about, "note": NOTE, "id": old}
                assert one.post("/api/triage", body, X_CSRF_Token=token).status == 201
            clients = [Client(one, about, token) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            while not all(client.answered for client in clients):
                time.sleep(0.01)
            time.sleep(random.uniform(0, LONGEST_LIFE))
            one.popen.kill()
            for client in clients:
                client.join()
        with History(url) as history:
            history.add([])  # waits for a server that is still at the dead one's last decision
            kept = history.triage()
        ids = [row.id for row in kept]
        sent = {row for client in clients for row in client.sent}
        answered = {row for client in clients for row in client.answered}
        assert len(ids) == len(set(ids)) and answered <= set(ids)
        assert all((row.note, row.subject) == (NOTE, failure["subject"]) for row in kept)
        assert set(lost) <= set(ids)
        lost = sorted(sent - answered)
        assert len(lost) == CLIENTS, "each was killed while it asked"
        told += len(answered)
        _verify(url, request)
    assert told >= KILLS * CLIENTS


def _verify(url: str, request: pytest.FixtureRequest) -> None:
    if url.startswith("postgresql"):
        request.getfixturevalue("server").verify(url)
        return
    with closing(sqlite3.connect(url)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _runs_a_job(pid: int) -> bool:
    try:
        return b"farm\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_work_for_a_farm_goes_on_after_a_kill(tmp_path: Path) -> None:
    """A rerun is kept, handed to a real farm's scheduler, dies with the server, and is taken up by the next one.

    What another's export asks for is not done.
    """
    url, runs = filled(str(tmp_path / "history.sqlite")), tmp_path / "runs"
    body = {"cell": LINUX, "test": "tst-c.so", "mark": "0" * 64}
    with History(url) as history:
        history.add([Triage(Action.RERUN, "test/linux/tst-c.so", "", "mallory", "", body, time.time(), "foreign")])
    with farm(tmp_path, {}) as (address, scheduler, _):
        asked = ("--farm", address, "--runs", str(runs))

        def job(one: Server, wanted: str, state: str) -> dict[str, object]:
            while True:
                rows = [row for row in one.get("/api/triage")["standings"] if row["subject"] == wanted]
                found = [row for row in rows[0]["jobs"] if row["id"] == "mine"]
                if found and found[0]["state"] == state:
                    return dict(found[0])
                time.sleep(0.1)

        with served(tmp_path, url, *asked) as one:
            failure = one.facts()["failures"][0]
            wanted = {"action": "rerun", "subject": failure["subject"], "cell": LINUX, "id": "mine"}
            assert one.get("/api/session")["farm"] is True
            assert one.post("/api/jobs", wanted).status == 202
            job(one, failure["subject"], "running")
            while not (at_work := [pid for pid in _children(one.popen.pid) if _runs_a_job(pid)]):
                time.sleep(0.05)
            one.end(signal.SIGKILL)
            while any(map(_runs_a_job, at_work)):
                time.sleep(0.05)
        with served(tmp_path, url, *asked) as one:
            done = job(one, failure["subject"], "ended")
            assert done["status"] == 1 and "the farm has no worker" in str(done["said"])
            one.facts()  # a job is for a failure of the page, which has to be drawn
            assert one.post("/api/jobs", wanted).json["id"] == "mine"
            (standing,) = one.get("/api/triage")["standings"]
            states = {row["id"]: row["state"] for row in standing["jobs"]}
            assert states == {"mine": "ended", "foreign": "waiting"}
        assert scheduler.popen.poll() is None
    assert oct((runs / ".serve.secret").stat().st_mode)[-3:] == "600"
