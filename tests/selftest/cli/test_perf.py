"""Measuring as people do it: the commands, and tests/perf, on a real kernel and a history of its own."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from history_records import sample as record
from rich.console import Console

from harness.analysis.ab import sides
from harness.analysis.regression.triage import KIND, reportable_findings, unconfirmed
from harness.cli import main
from harness.cli.commands.perf import _table
from harness.core.errors import HarnessError
from harness.core.machine import Image
from harness.metrics import suite
from harness.metrics.history.store import History
from harness.metrics.records import Better, Document, Metric, Sample, Version
from harness.metrics.sampler import Sampler
from harness.runner.session import Session

ROOT = Path(__file__).parents[3]
CELL = "linux:aarch64-qemu-ramfs"
QUIET = [100 + (index * 7919 % 13) / 13 for index in range(30)]
BEFORE = Version("old", "0" * 64, "Linux 6.0")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's numbers are kept."""
    path = tmp_path / "history.sqlite"
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(path))
    monkeypatch.setenv("COLUMNS", "200")
    return path


def _samples(path: Path, metric: str | None = None) -> list[Sample]:
    with History(path) as history:
        return history.samples(metric=metric)


def _pytest(history: Path, runs: Path, only: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/perf",
        "--cell",
        CELL,
        "-k",
        only,
        "-rs",
        "-p",
        "no:cacheprovider",
    ]
    words = ["--history", str(history), "--runs", str(runs)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_measurement_passes_without_a_baseline_and_fails_when_worse(history: Path, tmp_path: Path) -> None:
    first = _pytest(history, tmp_path / "runs", "boot-cost")
    assert first.returncode == 0, first.stdout + first.stderr
    taken = _samples(history)
    total = next(one for one in taken if one.metric.name == "boot.instructions")
    before = replace(BEFORE, builder=total.version.builder)
    better = replace(total, id="better", version=before, value=total.value - 1e6, taken=total.taken - 60)
    with History(history) as kept:
        kept.add([better])
    second = _pytest(history, tmp_path / "runs", "boot-cost")
    assert second.returncode == 1, second.stdout
    assert "boot.instructions of hello on linux:aarch64-qemu-ramfs-all is +0.3" in second.stdout
    plot = second.stdout.partition("plotted in ")[2].split("\n")[0]
    assert Path(plot).read_text().startswith("<?xml")


def test_numbers_are_shown_and_kept(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", CELL, "--only", "boot-cost", "--only", "size"]) == 0
    shown = capsys.readouterr().out
    (total,) = _samples(history, "boot.instructions")
    assert f"{total.value:,.0f} instructions" in shown
    assert {one.metric.name for one in _samples(history)} >= {"size.kernel", "size.compressed"}
    assert main(["perf", CELL, "--only", "size", "--forget"]) == 0
    assert len(_samples(history, "size.kernel")) == 1


def _shown_in(table: object) -> list[str]:
    """A table's lines, with one space between words."""
    (out := Console(file=StringIO(), width=160)).print(table)
    assert isinstance(out.file, StringIO)
    return [" ".join(line.split()) for line in out.file.getvalue().splitlines()]


def test_a_metric_is_one_line_and_its_samples_are_shown_on_demand() -> None:
    taken = [record(value=seconds, subject="hello") for seconds in (0.5, 0.2, 0.3, 0.25, 0.4)]
    taken.append(record(value=3.0, subject="redis", spread=2.0))
    _, _, *rows = _shown_in(_table(taken, each=False))
    assert rows == [
        "boot.seconds 300 ms 200 ms to 500 ms 5 hello",
        "boot.seconds 3 s 2 s wide 1 redis",
    ]
    _, _, *rows = _shown_in(_table(taken, each=True))
    assert [row.split()[1] for row in rows] == ["500", "200", "300", "250", "400", "3"]


def test_what_can_be_measured_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", CELL, "--list"]) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert max(map(len, shown.splitlines())) <= 80
    assert all([name] in lines for name in suite.KERNEL), "each has a line of its own"
    assert ["memory.minimum", "MiB"] in [words[:2] for words in lines]
    assert ["app.NAME.LOAD.throughput", "requests/s"] in [words[:2] for words in lines]
    assert main(["perf", "--list"]) == 0, "of qemu-rofs where no cell is named"
    assert ["boot.wall", "s"] in [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert main(["perf"]) == 2
    assert "No cell is named" in capsys.readouterr().err
    assert main(["perf", CELL, "--only", "boot-csot"]) == 2
    assert "boot-cost" in capsys.readouterr().err


def test_a_kernel_against_itself_and_against_another(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--cell", CELL, "--metric", "boot.instructions", "--metric", "size.kernel"]
    assert main(["compare", CELL, CELL, *words]) == 0
    assert capsys.readouterr().out.count("no change") == 2
    with History(history) as kept:
        taken = kept.samples()
        assert len(taken) > 1 and {one.run for one in (*taken, *kept.documents("comparison"))} == {taken[0].run}
    assert main(["compare", CELL, "linux:aarch64-qemu-rofs", "--pairs", "1", *words[:4]]) == 0
    shown = capsys.readouterr().out
    assert "no change seen" in shown, "one pair of what a disk makes inexact says nothing"
    with History(history) as kept:
        assert kept.documents("comparison")[0].subject == f"{CELL} against {CELL}"


def test_noise_is_no_change(session: Session) -> None:
    """Six real pairs of one kernel against itself; and a level of 1e-4 leaves no doubt worth a test."""
    cell = session.cell(CELL)
    a, b = (sides.build(session, cell, CELL, ["boot.wall"], 1.0, "run") for _ in range(2))
    kept: list[suite.Measured] = []
    found = sides.compare(a, b, ["boot.wall"], 6, 0.01, kept.append, random.Random(1))
    assert found["boot.wall"].decision != "changed" and found["boot.wall"].pairs == 6
    assert len(kept) == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["v1", "v2", "--cell", CELL], "no side of a comparison"),
        ([CELL, CELL, "--cell", CELL, "--metric", "boot.instructons"], "No measurement"),
        ([CELL, CELL, "--cell", CELL, "--metric", "boot.instructions.nowhere"], "No measurement"),
        ([CELL, "+nonsense", "--cell", CELL], "nonsense"),
        ([CELL, CELL, "--cell", CELL, "--pairs", "0"], "at least one pair"),
    ],
)
def test_mistakes_are_told(history: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["compare", *words]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_a_metric_that_no_run_gives_is_told(session: Session, tmp_path: Path) -> None:
    cell, tries = session.cell(CELL), []
    (kernel := tmp_path / "kernel").touch()
    facts = {"kernel": "6.1", "linux-image-6.1": "6.1-1", "suite": "Debian 12"}
    sampler = Sampler(session, Image(cell, kernel, "", "digest", facts=facts), "run")

    def side(name: str) -> sides.Side:
        def take() -> suite.Measured:
            tries.append(name)
            return suite.Measured([])

        silent = suite.Measurement("size", sampler, take)
        return sides.Side(name, cell, {"size": silent})

    with pytest.raises(HarnessError, match=r"Nothing measured size\.kernel"):
        sides.compare(side("A"), side("B"), ["size.kernel"], 2, 0.01, lambda measured: None, random.Random(1))
    assert sorted(tries) == ["A"] * sides.TRIES + ["B"] * sides.TRIES


def _series(values: list[float], exact: bool, sample: Sample) -> list[Sample]:
    metric = Metric("boot.instructions" if exact else "boot.wall", "x", Better.LOWER, exact)
    return [
        replace(
            sample, metric=metric, value=value, id=f"{'exact' if exact else 'noisy'}-{index}", taken=1e9 + index,
            version=Version(f"{index:040x}", f"{index:064x}", f"v{index}", 1e9 + index),
        )
        for index, value in enumerate(values)
    ]  # fmt: skip


@pytest.fixture
def sample(session: Session) -> Sample:
    return suite.prepare(session, session.cell(CELL), "boot-wall", "run", boots=1).take().samples[0]


def test_findings_are_shown_by_what_they_changed(
    history: Path, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    with History(history) as kept:
        kept.add(_series([100.0] * 6 + [103.0] * 6, True, sample))
    assert main(["findings"]) == 1
    assert "+3% worse" in capsys.readouterr().out
    assert main(["findings", "--least", "5"]) == 0
    assert "No change among 1 series" in capsys.readouterr().out
    assert main(["findings", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["after"]["described"] == "v6"


def test_a_suspect_that_a_rerun_drops_is_not_shown_again(sample: Sample) -> None:
    """A step in noise is worth a rerun; what that says is kept, and stands."""
    values = [100 + (index * 7919 % 13) / 13 for index in range(30)] + [
        104 + (index * 31 % 7) / 7 for index in range(5)
    ]
    series = _series(values, False, sample)
    (suspect,) = unconfirmed(series, [])
    assert [one.confirmed for one in reportable_findings(series, [])] == [None]

    def rerun(confirmed: bool) -> Document:
        about = (
            f"boot.wall {suspect.subject} {suspect.cell} {suspect.before.commit[:12]}..{suspect.after.commit[:12]}"
        )
        return Document(KIND, suspect.cell, about, {"confirmed": confirmed}, suspect.after, "run", 1.0)

    assert reportable_findings(series, [rerun(False)]) == [] and unconfirmed(series, [rerun(False)]) == []
    assert [one.confirmed for one in reportable_findings(series, [rerun(True)])] == [True]


def test_a_linux_suspect_says_that_it_cant_be_rerun(
    history: Path, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    with History(history) as kept:
        kept.add(_series([*QUIET, *(140.0 + index for index in range(5))], False, sample))
    assert main(["findings", "--confirm"]) == 1
    shown = capsys.readouterr().out
    assert "not rerun" in shown and "gone from its mirror" in shown and "none yet" in shown
