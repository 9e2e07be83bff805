"""What `osv-harness serve` has a farm bisect: between which commits, and what the page says of it."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from farm_processes import farm
from planted_nights import CELLS, Planted, version
from served import Server, served
from test_serve_browser import press, show, wait_for

from harness.kernels.osv.checkout import LANDMARKS
from harness.metrics.history.store import History
from harness.report.html.chromium import Browser, found

pytest.importorskip("distributed")

NIGHTS, BROKE = 8, 6
ROFS, *_, LINUX = CELLS
TEST, LINUX_TEST = "tst-mmap.so", "tst-c.so"


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """A test breaks on OSv, and another one on Linux."""
    broken = {ROFS: "tst-a.so", LINUX: LINUX_TEST}.get(cell)
    return ("failed", False, "status 1") if test == broken and night >= BROKE else None


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A checkout in which each night has a commit."""
    folder = tmp_path_factory.mktemp("checkout")

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(folder), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    made = []
    for night in range(NIGHTS):
        for name in LANDMARKS:  # by which a checkout of OSv is known
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(str(night))
        git("add", ".")
        git("commit", "-q", "-m", f"night {night}")
        made.append(git("rev-parse", "HEAD"))
    return folder, made


@pytest.fixture(scope="module")
def server(commits: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a farm that has no worker, and a history whose commits are the checkout's."""
    root, made = commits
    folder = tmp_path_factory.mktemp("serve")
    told = Planted(NIGHTS, says, sizes=lambda night, cell: 1.02 if night >= BROKE else 1.0).told()
    known = {version(ROFS, night).commit: made[night] for night in range(NIGHTS)}
    rows: list[Any] = [
        replace(one, version=replace(one.version, commit=known.get(one.version.commit, one.version.commit)))
        for one in (*told.samples, *told.judged)
    ]
    rows = [replace(one, test=TEST) if getattr(one, "test", "") == "tst-a.so" else one for one in rows]
    url = str(folder / "history.sqlite")
    with History(url) as history:
        history.add(rows)
    with (
        farm(folder, {}) as (address, _, _),
        served(
            folder, url, "--farm", address, "--runs", str(folder / "runs"), "--osv-root", str(root),
            OSV_HARNESS_CACHE=str(folder / "cache"),
        ) as one,
    ):  # fmt: skip
        one.facts()
        yield one
        assert "Traceback" not in one.words


def ended(server: Server, subject: str) -> dict[str, Any]:
    """The last job of the subject, once it has ended."""
    while True:
        rows = [row for row in server.get("/api/triage")["standings"] if row["subject"] == subject]
        if rows and rows[0]["jobs"] and rows[0]["jobs"][-1]["state"] == "ended":
            return dict(rows[0]["jobs"][-1])
        time.sleep(0.1)



@pytest.mark.parametrize("kind", ["test", "step"])
def test_a_bisection_looks_where_the_change_surely_lies(
    server: Server, commits: tuple[Path, list[str]], kind: str
) -> None:
    """The farm is asked with the commits of the last good night and the first bad one; what it says is kept."""
    facts, made = server.facts(), commits[1]
    if kind == "test":
        fact = next(one for one in facts["failures"] if one["test"] == TEST)
        wanted, since = {"metric": ""}, fact["since"]
    else:
        fact = next(one for one in facts["steps"] if one["kernel"] == "osv")
        wanted, since = {"metric": "size.kernel"}, fact["moved"][0]["since"]
    assert (since["good"]["commit"], since["bad"]["commit"]) == (made[BROKE - 1], made[BROKE])
    body = {"action": "bisect", "subject": fact["subject"], "cell": ROFS, "id": kind, **wanted}
    assert server.post("/api/jobs", body).status == 202
    job = ended(server, fact["subject"])
    assert (job["action"], job["status"]) == ("bisect", 2)
    assert "The farm can't bisect on" in job["said"] and "the farm has no worker" in job["said"]


def test_only_osvs_commits_are_bisected(server: Server) -> None:
    fact = next(one for one in server.facts()["failures"] if one["test"] == LINUX_TEST)
    answer = server.post("/api/jobs", {"action": "bisect", "subject": fact["subject"], "cell": LINUX})
    assert answer.status == 409 and "Only OSv's commits" in answer.json["title"]


@pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")
def test_a_card_has_the_button_and_then_the_words(server: Server) -> None:
    """That of Linux has no such button; what the farm said is text of several lines."""
    card, other = (f"document.querySelector('[data-still=\"{test}\"]')" for test in (TEST, LINUX_TEST))
    with Browser() as browser:
        show(browser, server.url)
        press(browser, "Bisect", card)
        said = wait_for(browser, f"{card}.querySelector('details.job pre')?.textContent")
        assert "The farm can't bisect on" in str(said)
        assert "ended with 2" in str(browser.evaluate(f"{card}.querySelector('.said').textContent"))
        buttons = browser.evaluate(f"[...{other}.querySelectorAll('button')].map((one) => one.textContent)")
        assert "Rerun" in buttons and "Bisect" not in buttons
