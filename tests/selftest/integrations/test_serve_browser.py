"""`osv-harness serve` in a real Chromium, on PostgreSQL, while a night writes into it.

This file is also the night: a process of its own, which adds what a line of its input says, and says so.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest
from history_places import Postgresql, private_postgresql
from planted_nights import CELLS, HERE, PASS, TESTS, Planted, version
from report_browser import complaints
from served import Server, served

from harness.metrics.history.records import Action, VerdictRecord
from harness.metrics.history.store import History
from harness.report.html.chromium import Browser, found

pytestmark = pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")

NIGHTS = 10
OSV = [cell for cell in CELLS if cell.startswith("osv:")]
HOSTILE = "<img src=x onerror=window.ran=1><script>window.ran=1</script>"
LONG = 300.0  # seconds; only a page that hangs needs them


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """One test breaks on OSv in the last night."""
    if test == "tst-c.so" and cell in OSV and night == NIGHTS - 1:
        return "failed", False, f"status 1 {HOSTILE}"
    return None


class Night:
    """A process that writes verdicts of now, as it is told."""

    def __init__(self, url: str) -> None:
        pipe = subprocess.PIPE
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, __file__, url]
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def write(self, cell: str, test: str, outcome: str, reason: str) -> None:
        """Have one verdict added; on return it is in the history."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([cell, test, outcome, reason]) + "\n")
        assert self._process.stdout.readline() == "kept\n"

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def write(url: str) -> None:
    """The night."""
    with History(url) as history:
        for line in sys.stdin:
            cell, test, outcome, reason = json.loads(line)
            about = version(cell, NIGHTS)
            good = outcome == "passed"
            now = time.time()
            verdict = VerdictRecord("unit", cell, test, outcome, good, reason, 0.5, about, HERE, "night-now", now)
            history.add([verdict])
            print("kept", flush=True)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgresql]:
    with private_postgresql() as one:
        yield one


@pytest.fixture(scope="module")
def url(postgresql: Postgresql) -> str:
    made = postgresql.new()
    told = Planted(NIGHTS, says).told()
    with History(made) as history:
        history.add([*told.samples, *told.judged])
    return made


@pytest.fixture(scope="module")
def server(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serve")
    place = folder / "runs" / f"night-{NIGHTS - 1}" / sorted(OSV)[0].replace(":", "-") / "tst-c.so"
    place.mkdir(parents=True)
    (place / "console.txt").write_text(f"{HOSTILE}\n")
    with served(folder, url, "--runs", str(folder / "runs")) as one:
        one.facts()
        yield one
        assert "Traceback" not in one.words


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture
def night(url: str) -> Iterator[Night]:
    one = Night(url)
    yield one
    one.end()


def show(browser: Browser, address: str, width: int = 1280) -> None:
    """Go there, and wait until it is loaded."""
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
    )
    browser.events.clear()
    browser.call("Page.navigate", url=address)
    until(lambda: browser.evaluate("document.readyState") == "complete" and browser.evaluate("location.href"))


def until(true: Callable[[], object]) -> object:
    deadline = time.monotonic() + LONG
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def wait_for(browser: Browser, script: str) -> object:
    """What the script says, as soon as it is something."""
    return until(lambda: browser.evaluate(script))


CARD = "document.querySelector('[data-new=\"tst-c.so\"]')"
SAID = f"{CARD}?.querySelector('.said')?.textContent"


def press(browser: Browser, text: str, within: str = CARD) -> None:
    """Press a button that is found by its text."""
    script = f"[...{within}.querySelectorAll('button')].find((one) => one.textContent === {json.dumps(text)})"
    wait_for(browser, f"!!({script}) && !({script}).disabled")
    browser.evaluate(f"({script}).click()")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_decorated_without_a_complaint(browser: Browser, server: Server, width: int) -> None:
    """Nothing of it breaks its policy, nothing of a guest's acts, and controls have names."""
    show(browser, server.url, width)
    wait_for(browser, f"{CARD}?.querySelector('.serve button')?.textContent")
    assert browser.evaluate(f"{CARD}.querySelectorAll('.serve').length") == 1
    assert wait_for(browser, "document.querySelector('.serve-bar')?.textContent.includes('Nothing runs')")
    assert browser.evaluate("window.ran ?? 0") == 0
    assert browser.evaluate("[...document.querySelectorAll('.serve input')].every((one) => one.ariaLabel)")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [one for one in complaints(browser) if not one.startswith(server.url)] == []


def test_a_failure_is_acknowledged_and_assigned(browser: Browser, server: Server, url: str) -> None:
    """By the buttons of its card; both are in the history, and there when the page is opened again."""
    show(browser, server.url)
    press(browser, "Acknowledge")
    assert wait_for(browser, f"{SAID}.includes('acknowledged')")
    browser.evaluate(f"{CARD}.querySelector('input').value = 'bob'")
    press(browser, "Assign")
    assert wait_for(browser, f"{SAID}.includes('assigned to bob')")
    with History(url) as history:
        kept = [(one.action, one.subject) for one in history.triage()]
    assert kept == [(Action.ACKNOWLEDGE, "test/osv/tst-c.so"), (Action.ASSIGN, "test/osv/tst-c.so")]
    show(browser, server.url)
    assert wait_for(browser, f"{SAID}?.includes('assigned to bob')")
    press(browser, "Reopen")
    assert wait_for(browser, f"!{SAID}.includes('acknowledged')")


def test_evidence_is_one_click_away(browser: Browser, server: Server) -> None:
    show(browser, server.url)
    link = wait_for(browser, f"{CARD}.querySelector('.serve a')?.href")
    show(browser, str(link))
    show(browser, str(wait_for(browser, "document.querySelector('li a')?.href")))
    assert browser.evaluate("document.contentType") == "text/plain"
    assert browser.evaluate("document.body.innerText").strip() == HOSTILE
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 0


def test_a_decision_that_was_refused_says_why(browser: Browser, server: Server) -> None:
    """What another site's page would send is refused; and the page tells what its own server refuses."""
    show(browser, server.url)
    wait_for(browser, f"{CARD}?.querySelector('.serve button')?.textContent")
    sent = "fetch('api/triage', {method: 'POST', headers: {'Content-Type': 'text/plain'}, body: '{}'})"
    assert browser.evaluate(f"{sent}.then((answer) => answer.status)") == 403
    browser.evaluate(f"{CARD}.querySelector('input').value = 'x'.repeat(101)")
    press(browser, "Assign")
    said = wait_for(browser, f"{CARD}.querySelector('.failed').textContent")
    assert "Not kept: " in str(said) and "assignee" in str(said)


def test_a_night_that_runs_is_seen_as_it_comes(browser: Browser, server: Server, night: Night) -> None:
    """Live, in the page's own bar, and then as another page; what a guest says stays text."""
    show(browser, f"{server.url}live")
    for test in TESTS[:3]:
        night.write(OSV[0], test, "passed", PASS)
    night.write(OSV[0], "tst-h.so", "crashed", HOSTILE)
    assert wait_for(browser, "document.querySelectorAll('#coming li').length === 4")
    assert browser.evaluate("document.querySelector('#coming li.bad').textContent").endswith(HOSTILE)
    run = "document.querySelector('[data-run=\"night-now\"]')"
    assert wait_for(browser, f"{run}?.querySelector('.count').textContent === '4'")
    assert browser.evaluate(f"{run}.querySelector('.unexpected').textContent") == "1"
    assert browser.evaluate("window.ran ?? document.querySelectorAll('main img, main script').length") == 0

    show(browser, server.url)
    tag = server.get("/api/session")["page"]
    bar = "document.querySelector('.serve-bar')"
    wait_for(browser, f"{bar}?.textContent.includes('A night is running: 4 verdicts')")
    for cell in CELLS:
        for test in TESTS:
            bad = test == "tst-e.so" and cell in OSV
            night.write(cell, test, "failed" if bad else "passed", "status 9" if bad else PASS)
    until(lambda: "tst-e.so" in {one["test"] for one in server.get("/api/facts")["failures"]})
    assert server.get("/api/session")["page"] != tag
    press(browser, "Show the newer page", bar)
    assert wait_for(browser, "document.querySelector('[data-new=\"tst-e.so\"] .serve button')?.textContent")
    assert [one for one in complaints(browser) if not one.startswith(server.url)] == []


if __name__ == "__main__":
    write(sys.argv[1])
