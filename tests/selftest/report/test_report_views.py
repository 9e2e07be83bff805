"""The report's views in a real browser: comparisons that are right, whole years, nothing inaccessible."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from planted_nights import BEGAN, CELLS, DAY, Planted, version
from report_browser import DRAWN, HOSTILE, OPEN_ALL, SETTLED, complaints, until, with_texts

from harness.analysis.regression.triage import reportable_findings
from harness.cli import main
from harness.core.matrix import Matrix
from harness.integrations.ci.plan import plan, record
from harness.integrations.server.render import report_data
from harness.metrics.history.store import History
from harness.report.feeds import badge, feed, latest
from harness.report.html.chromium import Browser, found
from harness.report.html.page import page, write
from harness.report.markdown import markdown
from harness.report.model.data import ReportData
from harness.report.model.thinning import Point, thinned
from harness.report.morning.report import morning

ROFS, ZFS, RAMFS, EXT, LINUX = CELLS
NIGHTS, STEP, BUILDER, CRASH = 40, 25, 33, 39
needs_browser = pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    if test == "tst-a.so" and night == CRASH and cell == ZFS:
        return "crashed", False, "page fault outside application, addr: 0x10"
    if test == "tst-b.so" and night >= 10 and cell == ROFS and dice.random() < 0.3:
        return "hung", False, "nothing happened for 60 s"
    return None


def sizes(night: int, cell: str) -> float:
    return 1.02 if night >= STEP and cell in (ROFS, ZFS, RAMFS) else 1.0


def history() -> ReportData:
    """A step of 2% on three cells, a flaky test, a crash last night, and another compiler from a night on."""
    told = Planted(NIGHTS, says, frozenset({(CRASH, RAMFS)}), sizes).told()
    samples = []
    for one in told.samples:
        newer = one.cell.startswith("osv") and one.taken >= BEGAN + BUILDER * DAY
        compiler = "13.3.0" if newer else "12.2.0"
        samples.append(replace(one, version=replace(one.version, builder=f"compiler=gcc {compiler}")))
    return ReportData(samples, told.judged, [], reportable_findings(samples, []))


@pytest.fixture(scope="module")
def told() -> ReportData:
    return history()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def report(told: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "report.html"
    write(told, path)
    return path


def compared(browser: Browser, a: int, b: int) -> dict[str, Any]:
    """What the page says of two nights' commits: the sentence, and all of it as JSON."""
    ends = f"{version(ROFS, a).commit}..{version(ROFS, b).commit[:12]}"
    browser.evaluate(f"location.hash = '#compare/{ends}', {SETTLED}")
    said = browser.evaluate("document.querySelector('#view .conclusion').textContent")
    values: dict[str, Any] = browser.evaluate(
        f"Compare.result({ends!r}).then(({{ index, ...found }}) => JSON.parse(JSON.stringify(found)))"
    )
    return {**values, "said": said}


@needs_browser
def test_a_step_is_told_with_its_cells_and_noise_is_not(browser: Browser, report: Path) -> None:
    """Between the commits of the step and before: the size alone changed, on three of four cells."""
    browser.open(report)
    found_ = compared(browser, STEP - 1, STEP)
    (one,) = found_["changed"]
    assert one["name"] == "size.kernel"
    assert sorted(one["cells"]) == sorted((ROFS, ZFS, RAMFS))
    assert "size.kernel +2% on 3 cells" in found_["said"]
    assert found_["commits"] == 1
    assert {row["name"] for row in found_["others"]} == {"size.kernel", "app.nginx.steady.throughput"}
    text = browser.evaluate("document.getElementById('view').innerText")
    assert "1 commit lies between" in text
    assert complaints(browser) == []


@needs_browser
def test_a_flaky_test_is_no_new_failure(browser: Browser, report: Path, told: ReportData) -> None:
    """A night on which it failed against one on which it passed, either way round."""
    bad = {one.version.commit for one in told.judged if not one.expected and one.test == "tst-b.so"}
    nights = [night for night in range(11, CRASH) if version(ROFS, night).commit in bad]
    good = next(night for night in range(11, CRASH) if night not in nights)
    browser.open(report)
    for ends in ((good, nights[0]), (nights[0], good)):
        rows = compared(browser, *ends)["tests"]["kinds"]
        assert {row["kind"]: [one["name"] for one in row["rows"]] for row in rows} == {"flaky": ["tst-b.so"]}


@needs_browser
def test_numbers_of_two_builders_are_not_compared(browser: Browser, report: Path) -> None:
    """Across the change of the compiler exact numbers and others are refused, with what differs."""
    browser.open(report)
    found_ = compared(browser, BUILDER - 1, BUILDER)
    assert found_["changed"] == []
    (refused,) = found_["refused"]
    assert "builder compiler=gcc 12.2.0 → compiler=gcc 13.3.0" in refused["why"]
    assert "not comparable" in found_["said"]
    assert "data-refused" in browser.evaluate("document.getElementById('view').innerHTML")
    ends = f"{version(LINUX, 3).commit}..{version(ROFS, 3).commit}"
    browser.evaluate(f"location.hash = '#compare/{ends}', {SETTLED}")
    assert "different kernels" in browser.evaluate("document.querySelector('#view .conclusion').textContent")


@needs_browser
def test_the_last_two_nights_are_compared_by_default(browser: Browser, report: Path) -> None:
    """What broke last night is a new failure, the cell without a result is told; nights' days are names, too."""
    browser.open(report)
    browser.evaluate(f"location.hash = '#compare/', {SETTLED}")
    said = browser.evaluate("document.querySelector('#view .conclusion').textContent")
    assert said.startswith("1 new failure")
    assert "1 cell without a result of the second" in said
    days = browser.evaluate("Shards.load('index').then(({ dates }) => dates)")
    browser.evaluate(f"location.hash = '#compare/{days[-2]}..{days[-1]}', {SETTLED}")
    assert browser.evaluate("document.querySelector('#view .conclusion').textContent") == said
    markdown = browser.evaluate(f"Compare.result('{days[-2]}..{days[-1]}').then(Compared.markdown)")
    assert markdown.startswith("### `v0.57.0-338-")
    assert "| new failure | `tst-a.so` |" in markdown


def axe() -> str:
    """The script of axe-core, which the package brings for another browser's driver."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec and spec.origin, "tox -e self brings it"
    return Path(spec.origin).with_name("axe.min.js").read_text("utf-8")


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_violation(browser: Browser, report: Path, width: int, scheme: str) -> None:
    """Of the page with all of it opened, and of each view, at both widths, and in both schemes."""
    browser.open(report, width=width, scheme=scheme)
    browser.evaluate(axe() + "; 0")
    run = "axe.run().then(({ violations }) => violations.map((one) => [one.id, one.nodes[0].html]))"
    browser.evaluate(OPEN_ALL)
    browser.evaluate(DRAWN)
    assert browser.evaluate(run) == [], "axe"
    for address in ("#test/tst-b.so", f"#cell/{ROFS}", "#metric/size.kernel", "#compare/"):
        browser.evaluate(f"location.hash = {json.dumps(address)}, {SETTLED}")
        assert browser.evaluate(run) == [], "axe"
        assert browser.evaluate("document.documentElement.scrollWidth") == width


@needs_browser
def test_a_phones_plots_are_high_enough_and_paper_shows_what_is_closed(browser: Browser, report: Path) -> None:
    """At 390 pixels a plot has 200 at least; what was closed is open on paper, and closed again."""
    browser.open(report, width=390, height=844)
    browser.evaluate(f"location.hash = '#metric/size.kernel', {SETTLED}")
    browser.evaluate(DRAWN)
    inner = "document.querySelector('#view .plot .nsewdrag').getBoundingClientRect().height"
    assert browser.evaluate(inner) >= 200
    browser.evaluate("location.hash = '#morning'")
    shut = "document.querySelectorAll('#findings > details:not([open])').length"
    assert browser.evaluate(shut) == 1
    browser.call("Emulation.setEmulatedMedia", media="print")
    until(lambda: browser.evaluate(shut) == 0)
    until(lambda: browser.evaluate("document.querySelectorAll('.findings > li').length") > 0)
    browser.call("Emulation.setEmulatedMedia", media="screen")
    until(lambda: browser.evaluate(shut) == 1)


@needs_browser
def test_guests_words_are_text_in_views_too(browser: Browser, tmp_path: Path) -> None:
    """Names that are scripts, markup, or what JavaScript has a meaning for: views show them as they are."""
    path = tmp_path / "report.html"
    write(with_texts(HOSTILE), path)
    browser.open(path)
    names = browser.evaluate("Shards.load('index').then(({ tests, cells }) => ({ tests, cells }))")
    shown = [*(("test", name) for name in names["tests"][:24]), *(("cell", name) for name in names["cells"])]
    for kind, name in [*shown, ("compare", "")]:
        browser.evaluate(f"location.hash = addressOf({kind!r}, {json.dumps(name)}), {SETTLED}")
        text = browser.evaluate("document.getElementById('view').textContent")
        assert "no such" not in text and "can't be read" not in text
        assert not name or name in text
    count = "document.querySelectorAll('#view :is(img, iframe, b, i, sub, script, [onerror], [onload])').length"
    assert browser.evaluate(count) == 0
    assert complaints(browser) == []


def test_a_year_is_in_every_trend_and_every_step_stays() -> None:
    """Thinned from a thousand points: the first, the last, each step as sharp as it was."""
    dice = Random(1)
    steps = (300, 640)
    noisy = [100 + 10 * sum(n >= at for at in steps) + dice.gauss(0, 1) for n in range(1000)]
    few = thinned([Point(n, value, value, value, 1) for n, value in enumerate(noisy)], 60, steps)
    assert len(few) <= 65
    assert (few[0].version, few[-1].version) == (0, 999)
    assert set(steps) <= {one.version for one in few}
    for one in few:
        level = 100 + 10 * sum(one.version >= at for at in steps)
        assert abs(one.value - level) < 2.5
    assert sum(one.count for one in few) == 1000
    exact = thinned([Point(n, float(n // 250), 0, 0, 1) for n in range(1000)], 60)
    assert [one.version for one in exact] == [0, 249, 250, 499, 500, 749, 750, 999]


def test_what_was_planned_and_has_no_result_is_told() -> None:
    """A cell that never had one, a cell that is no longer planned, and a night of which nothing came at all."""
    matrix, nights = Matrix.load(), Planted(10).told()
    names = [cell for cell in CELLS if cell != EXT] + ["osv:x86_64-firecracker-rofs-all"]
    planned = plan(matrix, [{"name": name, "standing": "runs here", "reason": ""} for name in names], "x86_64")
    last = [one for one in nights.judged if not (one.cell == EXT and one.run == "night-9")]
    kept = record(planned, "x86_64", "r", BEGAN + 9 * DAY - 6 * 3600)
    today = morning(ReportData([], last, [kept]).safe)
    assert [(one.cell, one.never) for one in today.missing] == [("osv:x86_64-firecracker-rofs-all", True)]
    nothing = record(planned, "x86_64", "r2", BEGAN + 10 * DAY)
    silent = morning(ReportData([], last, [kept, nothing]).safe)
    assert silent.headline == "No result"
    assert {one.cell for one in silent.missing} == set(names)
    assert "No result" in page(ReportData([], last, [kept, nothing]))


def test_programs_get_the_last_night_as_json_feed_and_badge(told: ReportData) -> None:
    """One entry for each thing, the same next night; well-formed whatever guests and commits say."""
    today = morning(told.safe)
    values = json.loads(latest(today))
    assert [one["test"] for one in values["new"]] == ["tst-a.so"]
    assert [one["cell"] for one in values["missing"]] == [RAMFS]
    assert values["new"][0]["good"]["commit"] == version(ZFS, CRASH - 1).commit
    atom = "{http://www.w3.org/2005/Atom}"
    root = ET.fromstring(feed(today, "index.html"))
    titles = [one.findtext(f"{atom}title") for one in root.iter(f"{atom}entry")]
    assert "tst-a.so crashed on 1 cell" in titles
    assert any(title and title.startswith("+2% size.kernel on 3 of 4 cells") for title in titles)
    ids = [one.findtext(f"{atom}id") for one in root.iter(f"{atom}entry")]
    assert len(ids) == len(set(ids))
    assert "1 new failure" in ET.fromstring(badge(today)).get("aria-label", "")
    hostile = morning(with_texts(HOSTILE).safe)
    ET.fromstring(feed(hostile, "a&b <c>.html"))
    ET.fromstring(badge(hostile))
    json.loads(latest(hostile))


@pytest.mark.skipif(not shutil.which("node"), reason="node is not here")
def test_the_scripts_have_no_fault_of_syntax(tmp_path: Path) -> None:
    """All of them as one script, as the page has them."""
    from harness.report.html.rendering import HERE, SCRIPTS

    path = tmp_path / "page.js"
    path.write_text("\n".join((HERE / name).read_text() for name in SCRIPTS))
    done = subprocess.run(["node", "--check", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_findings_have_a_line_each_at_80_columns(
    told: ReportData, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is folded or wider; each says which way, how much, where and since when."""
    where = str(tmp_path / "h.sqlite")
    slow = [
        replace(one, value=one.value * (0.7 if one.run == "night-10" else 1))
        for one in told.samples if not one.metric.exact and one.cell == ROFS
    ]  # fmt: skip
    with History(where) as kept:
        kept.add([*(one for one in told.samples if one.metric.exact), *slow])
    monkeypatch.setenv("COLUMNS", "80")
    main(["findings", "--history", where])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.endswith("…") for line in lines if ": 0.7 times, alone" in line] == [True]
    steps = [line for line in lines if "size.kernel" in line and "▲" in line]
    assert len(steps) == 3
    assert max(map(len, steps)) <= 80
    assert all("+2%" in line and "v0.57.0-325" in line for line in steps)


def test_a_step_that_two_builders_saw_is_one_fact(
    told: ReportData, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Findings, the page's facts and the night's summary have one row, and a line on the builder."""
    by_old = [one for one in told.samples if one.metric.name == "size.kernel" and one.cell == ROFS]
    by_new = [
        replace(
            one, id=f"{one.id}-new", value=one.value * 0.9, taken=one.taken + 60,
            version=replace(one.version, builder="compiler=gcc 14.2.0"),
        )
        for one in by_old
    ]  # fmt: skip
    by_old = [replace(one, version=replace(one.version, builder="compiler=gcc 12.2.0")) for one in by_old]
    where = str(tmp_path / "h.sqlite")
    with History(where) as kept:
        kept.add([*by_old, *by_new])
        both = report_data(kept)
    first, second = both.findings
    assert first.after.described == second.after.described == "v0.57.0-325-g1c07dde1"
    monkeypatch.setenv("COLUMNS", "80")
    main(["findings", "--history", where])
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "size.kernel" in line and "▲" in line] == said.splitlines()[:1]
    assert "1 more: the same steps in the numbers of another builder." in said
    until = [one for one in both.samples if one.version.committed <= first.after.committed]
    summary = markdown(replace(both, samples=until), first.after.commit)
    assert summary.count("| 🔺 worse |") == 1
    assert "compiler gcc 12.2.0" in summary and "No commit is blamed for it." in summary
    (changed,) = morning(both).changes.steps
    (whole,) = changed.wholes
    assert (whole.cells, whole.exact) == ([ROFS], 1)
