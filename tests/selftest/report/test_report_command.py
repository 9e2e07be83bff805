"""The report's command: its formats, and what it packs."""

import os
import re
import subprocess
import sys
from ast import literal_eval
from dataclasses import replace
from pathlib import Path

import pytest
from test_report_history import CELLS, history

from harness.analysis.regression.series import numbers
from harness.cli import main
from harness.metrics.history.store import History
from harness.report.html import verdicts
from harness.report.html.page import page
from harness.report.model.data import ReportData
from harness.report.model.figures import anchor
from harness.report.model.numbers import Numbers
from harness.report.model.outcome_codes import code_of
from harness.report.model.outcomes import by_test
from harness.report.model.series import every_series
from harness.report.model.timeline import Timeline
from harness.report.morning.report import morning


def filled(folder: Path) -> str:
    """A history on the disk that holds the made-up one."""
    told = history()
    with History(folder / "history.sqlite") as kept:
        kept.add(told.rows)
        return kept.where


def test_the_command_writes_each_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a history on the disk, with the findings that the statistics make of it."""
    where = filled(tmp_path)
    for name, words in (("markdown", "against base"), ("openmetrics", "# EOF"), ("text", "Still failing")):
        assert main(["report", "--history", where, "--format", name]) == 0
        assert words in capsys.readouterr().out
    output = tmp_path / "page.html"
    assert main(["report", "--history", where, "--output", str(output)]) == 0
    assert "▲ worse" in output.read_text(encoding="utf-8")


def test_the_command_can_be_asked_for_less(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By cell and by date; what is no date, or no place to write to, is said plainly."""
    where = filled(tmp_path)
    common = ["report", "--history", where, "--format", "text"]
    assert main([*common, "--cell", "linux:*-rofs-*"]) == 0
    told = capsys.readouterr().out
    assert "linux:x86_64-qemu-rofs-all" in told
    assert "osv:" not in told
    assert main([*common, "--since", "2026-09-30"]) == 0
    assert "versions: 1 of linux, 1 of osv" in capsys.readouterr().out
    assert main([*common, "--since", "2999-01-01"]) == 0
    assert "nothing to report" in capsys.readouterr().out
    assert main([*common, "--since", "yesterday"]) == 2
    capsys.readouterr()
    for words in (common, ["findings", "--history", where], ["history", "show", "--history", where]):
        assert main([*words, "--cell", "x86_64-qemu-rofs"]) == 2
        assert "linux:x86_64-qemu-rofs-all" in capsys.readouterr().err
    assert main(["findings", "--history", where, "--metric", "boot.instructons"]) == 2
    assert "boot.instructions" in capsys.readouterr().err
    assert main([*common, "--screenshots", str(tmp_path)]) == 2
    assert main(["report", "--history", where, "--output", str(tmp_path / "no" / "page.html")]) == 2


def test_nothing_of_this_machine_is_in_a_page(tmp_path: Path) -> None:
    """A report may be shown to anybody: it holds what the history holds."""
    assert str(Path.home()) not in page(ReportData())
    assert str(Path(__file__).parents[3]) not in page(history()).split('<script type="application/json"')[0]


def test_a_report_groups_nothing_that_was_grouped() -> None:
    """Unless a text had to be made safe: then the samples are others."""
    told = history()
    grouped = numbers(told.samples, told.graph)
    assert replace(told, grouped=grouped).safe.numbers is grouped
    evil = [replace(told.samples[0], subject="\x1b[31m"), *told.samples[1:]]
    safe = replace(told, samples=evil, grouped=numbers(evil)).safe
    assert safe.numbers.groups == numbers(safe.samples).groups
    assert not any("\x1b" in one.subject for group in safe.numbers.groups for one in group.samples)


def test_numbers_and_nights_are_packed_and_lose_nothing() -> None:
    """As the page's script unpacks them: rows in runs of one group, signs with how often they come in a row."""
    told = history().safe
    timeline = Timeline(told)
    every = every_series(told, timeline)
    made = Numbers(every, timeline, sorted({one.cell for one in every}))
    for number in range(len(timeline.versions)):
        runs, values = made.at(number)
        rows = [(row, group) for first, count, group in runs for row in range(first, first + count)]
        assert len(rows) == len(values) and len(set(rows)) == len(rows)
        measured = {one.points[at].value for one in every for at in range(len(one.points))
                    if one.points[at].version == number}  # fmt: skip
        assert {float(f"{one:.7g}") for one in measured} == {float(one) for one in values}
    shard = dict(verdicts.test_shards(by_test(told), morning(told), [*CELLS]))
    for test in by_test(told):
        (packed,) = [
            one for one in shard[anchor("test", test.name)]["cells"]
            if one["cell"] == CELLS.index(test.cell) and one["suite"] == test.suite
        ]  # fmt: skip
        signs = re.sub(r"(\D)(\d+)", lambda found: found[1] * int(found[2]), packed["nights"])
        assert len(signs) == morning(told).nights.last + 1 and set(signs) - {"."}
        assert signs.rstrip(".")[-1] == code_of(test.latest)


def test_the_statistics_of_a_report_run_in_one_thread() -> None:
    """numpy is imported after `harness.analysis` has told it so, by whichever module wants it first."""
    code = """\
import os
import harness.cli.commands.report, harness.report.html.site
import numpy
numpy.linalg.inv(numpy.eye(500) * 2) @ numpy.eye(500)
print(os.listdir("/proc/self/task"))
"""
    free = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=free, capture_output=True, text=True, check=True)
    assert len(literal_eval(done.stdout)) == 1
