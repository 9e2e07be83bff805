"""Parts of the morning's page: the ends of consoles, steps that too few nights show, the newest versions."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from planted_nights import BEGAN, CELLS, DAY, HERE, Planted, version
from rich.console import Console

from harness.metrics.history.store import History
from harness.metrics.records import CONSOLE, Document, Metric, Sample
from harness.report.html.documents import records
from harness.report.html.page import page
from harness.report.markdown import markdown
from harness.report.morning.report import morning
from harness.report.morning.version_rows import MOST_VERSIONS
from harness.report.report_data import make_report_data
from harness.report.terminal import show

ROFS, ZFS, RAMFS, *_ = CELLS
NIGHTS = 40
USED = Metric("memory.used", "B")


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """A crash last night on two cells, a test that was mended, and one that is flaky."""
    if test == "tst-a.so" and night == NIGHTS - 1 and cell in (ROFS, ZFS):
        return "crashed", False, "page fault"
    if test == "tst-c.so" and 30 <= night < 35 and cell == RAMFS:
        return "failed", False, "the program ended with status 1"
    if test == "tst-b.so" and night >= 10 and cell == ROFS and dice.random() < 0.4:
        return "hung", False, "nothing happened for 60 s"
    return None


def test_a_new_failure_shows_the_end_of_its_console(tmp_path: Path) -> None:
    """As a history has it. Of its newest console: five lines that are text and no markup, once, and not among
    other records."""
    told = Planted(NIGHTS, says).told()
    crashed = [one for one in told.judged if one.outcome == "crashed"]
    lines = [f"line {number}" for number in range(6)] + ["<img src=x onerror=alert(1)>\x1b[31m"]
    documents = [
        Document(CONSOLE, ROFS, "tst-a.so", {"lines": said}, one.version, "r", BEGAN, f"{one.id}-console")
        for one, said in zip(crashed, (lines, 5), strict=True)
    ]
    with History(tmp_path / "history.sqlite") as history:
        history.add([*told.judged, *documents])
        told = replace(told, judged=history.judged_by_time(), documents=history.documents())
    html = page(told)
    assert html.count('<pre class="console"') == 1
    end = html.partition('<pre class="console"')[2].partition("</pre>")[0]
    assert "line 2\nline 3\nline 4\nline 5\n&lt;img src=x onerror=alert(1)&gt;" in end
    assert "line 1" not in end and "\x1b" not in html and "<img" not in html
    assert records(told.safe) == []


@pytest.mark.parametrize("nights", [1, 3, 6])
def test_a_step_of_too_few_nights_is_suspected_and_no_finding(nights: int) -> None:
    """It says when it will be decided; then it is a finding, or gone."""
    dice = Random(3)
    samples = [
        Sample(
            USED, 3e7 * dice.gauss(1.03 if night >= NIGHTS - nights else 1, 0.001), cell, "hello",
            version(cell, night), HERE, f"night-{night}", BEGAN + night * DAY, 0.0, f"{night}-{number}",
        )
        for night in range(NIGHTS)
        for number, cell in enumerate((ROFS, ZFS))
    ]  # fmt: skip
    told = make_report_data(samples, Planted(NIGHTS).told().judged, [], {})
    since = version(ROFS, NIGHTS - nights).described
    if nights >= 5:
        assert told.suspected == [] and {one.after.described for one in told.findings} == {since}
        return
    (line,) = told.suspected
    left = f"{5 - nights} night{'s' * (nights < 4)}"
    assert line.startswith("seems +") and f"decided in {left}: memory.used on 2 cells, since {since}" in line
    assert told.findings == [] and told.asides == []
    out = StringIO()
    show(told, Console(file=out, width=200))
    for shown in (page(told), markdown(told), out.getvalue()):
        assert shown.count(f"decided in {left}") == 1


def test_each_of_the_newest_versions_has_a_row() -> None:
    """What broke, what was mended, what moved by how much; a flaky test breaks with no commit."""
    told = Planted(NIGHTS, says, sizes=lambda night, cell: 1.02 if night >= 25 and cell == ZFS else 1.0).told()
    rows = morning(told.safe).versions
    assert len(rows) == MOST_VERSIONS
    by_night = {int(row.version.described.split("-")[1]) - 300: row for row in rows}
    assert list(by_night) == list(range(NIGHTS - 1, NIGHTS - 1 - MOST_VERSIONS, -1))
    assert all(row.before == version(ROFS, night - 1) for night, row in by_night.items())
    turned = {night: (row.broke, row.fixed) for night, row in by_night.items() if row.broke or row.fixed}
    assert turned == {39: (["tst-a.so"], []), 30: (["tst-c.so"], []), 35: ([], ["tst-c.so"])}
    moved = {night: dict(row.changes) for night, row in by_night.items() if row.changes}
    assert list(moved) == [25] and list(moved[25]) == ["size"]
    assert moved[25]["size"].cells == [ZFS] and moved[25]["size"].change == pytest.approx(0.02, rel=1e-3)
    table = page(told).partition('id="commits"')[2].partition("</table>")[0]
    assert table.count("<tr>") == MOST_VERSIONS + 1
    assert "\u22121 broke" in table and "+1 fixed" in table and "▲ +2%" in table
