"""What changed since a version: a creep that no step explains, steps beside it, and nothing in quiet noise."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.regression.drift_since import since
from harness.analysis.regression.findings import findings
from harness.cli import main
from harness.core.errors import HarnessError
from harness.metrics.history.store import History
from harness.metrics.records import Environment, Metric, Sample, Version
from harness.report.outlier_lines import outlier_lines

HERE = Environment("here", "cpu", 2, "", "tcg", "qemu 7", "6.1")
TIME, COUNT = Metric("boot.seconds", "s"), Metric("boot.instructions", "", exact=True)
SECOND = 20
"""The commit that is the second release."""


def samples(values: Sequence[float], metric: Metric = TIME, releases: bool = True) -> list[Sample]:
    """One a commit: the first and another are releases, or the history begins after one."""
    return [
        Sample(metric, float(one), "osv:a", "", version(at, releases), HERE, "run", 2e9 + at)
        for at, one in enumerate(values)
    ]


def version(at: int, releases: bool) -> Version:
    commit = f"{at + 1:07x}{0:033x}"
    if not releases:
        name = f"v1.0-{at + 1}-g{commit[:7]}"
    else:
        release, after = ("v1.1", at - SECOND) if at >= SECOND else ("v1.0", at)
        name = f"{release}-{after}-g{commit[:7]}" if after else release
    return Version(commit, f"d{at}", name, 1e9 + at)


def creeping(seed: int, noise: float = 0.01, length: int = 67) -> np.ndarray:
    """0.3% a commit, 20% in all."""
    dice = np.random.default_rng([1, seed])
    return np.asarray((1 + 0.003 * np.arange(length)) * (1 + noise * dice.normal(size=length)))


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.02])
def test_a_creep_is_told_and_no_step_is(noise: float) -> None:
    for seed in range(8):
        history = samples(creeping(seed, noise), releases=False)
        assert findings(history) == []
        (told,) = since(history)
        assert told.interval[0] < 0.2 < told.interval[1] and told.worse and told.steps == 0
        assert "no single step" in told.words and told.words.startswith("since v1.0-1-g0000001: +")


def test_a_creep_with_a_bad_night() -> None:
    values = creeping(3)
    values[30] *= 2
    (told,) = since(samples(values, releases=False))
    assert told.change == pytest.approx(0.2, abs=0.03)


def test_the_last_release_is_what_a_creep_is_told_against() -> None:
    (told,) = since(samples(creeping(4)))
    assert told.since.described == "v1.1" and told.change == pytest.approx(0.138 / 1.06, abs=0.03)


def test_a_named_version() -> None:
    """By its description, its commit, or as the release whose first commit is there."""
    history = samples(creeping(5))
    for name, described in {"v1.0": "v1.0", "v1.1": "v1.1", "0000015": "v1.1", "v1.0-5-g0000006": ""}.items():
        (told,) = since(history, name)
        assert told.since.described == (described or name)
    (told,) = since(samples(creeping(5), releases=False), "v1.0")
    assert told.since.described == "v1.0-1-g0000001"
    with pytest.raises(HarnessError, match="v7") as caught:
        since(history, "v7")
    assert "v1.0, v1.1" in str(caught.value)


def test_a_step_is_told_as_a_step_and_only_the_rest_crept() -> None:
    values = creeping(6, length=80)
    values[40:] *= 1.12
    (step,) = findings(samples(values))
    assert abs(step.change - 0.12) < 0.05
    (told,) = since(samples(values), "v1.0")
    assert told.steps == 1 and told.change == pytest.approx(1.12 * 1.237 - 1, abs=0.04)
    assert 10 < told.in_steps < 17 and "in 1 step" in told.words


def test_next_to_nothing_beside_a_step_is_no_creep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0.1% crept, and 2% came in a step that is told as one: no line says that 2.1% crept."""
    values = (1 + 0.001 * np.arange(80) / 80) * (1 + 1e-4 * np.random.default_rng(5).normal(size=80))
    values[40:] *= 1.02
    history = samples(values, releases=False)
    (told,) = since(history)
    assert told.change > 0.019 and told.drift == pytest.approx(0.001, abs=0.0003)
    assert outlier_lines([], [told]) == []
    assert outlier_lines([], [replace(told, in_steps=1.0)]) != []
    url = str(tmp_path / "h.sqlite")
    with History(url) as kept:
        kept.add(history)
    for words, wanted in (((), 0), (("--since", "v1.0"), 1)):
        main(["findings", "--history", url, "--least", "0.5", *words])
        assert capsys.readouterr().out.count("in 1 step") == wanted


def test_steps_alone_are_no_creep() -> None:
    for seed in range(8):
        values = 1 + 0.01 * np.random.default_rng([2, seed]).normal(size=80)
        values[40:] *= 1.12
        assert since(samples(values, releases=False)) == []
        (told,) = since(samples(values), "v1.0")
        assert told.interval[0] < 0.12 < told.interval[1]


def test_noise_that_wanders_is_no_creep() -> None:
    """Nor is any other, of 60."""
    told = 0
    for seed in range(60):
        dice = np.random.default_rng([3, seed])
        wandering = np.cumsum(dice.normal(size=120)) / np.sqrt(200) if seed % 2 else 0
        told += bool(since(samples(100 + dice.normal(size=120) + wandering, releases=False)))
    assert told == 0


def test_an_exact_number_changes_by_its_steps() -> None:
    history = samples([100.0] * 10 + [103.0] * 10 + [106.0] * 10, COUNT)
    assert since(history) == [], "its steps are findings already"
    (told,) = since(history, "v1.0")
    assert told.steps == 2 and told.change == pytest.approx(0.06) and told.interval == (told.change, told.change)


def test_findings_since_a_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    url = str(tmp_path / "h.sqlite")
    with History(url) as history:
        history.add(samples(creeping(7)))
    assert main(["findings", "--history", url, "--since", "v1.0"]) == 1
    shown = capsys.readouterr().out
    assert "since v1.0: +" in shown and "no single step" in shown and "worse" in shown
    assert main(["findings", "--history", url, "--json"]) == 1
    row = json.loads(capsys.readouterr().out)
    assert row["from"]["described"] == "v1.1" and row["change"] > 0.1 and row["steps"] == 0
    assert main(["findings", "--history", url, "--since", "v9"]) == 2
    assert "has no version 'v9'" in capsys.readouterr().err


def test_findings_tell_nights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, in the finding's own row, and on standard error beside JSON; a quiet history has no row."""
    url, quiet = str(tmp_path / "h.sqlite"), str(tmp_path / "q.sqlite")
    values = 1 + 0.01 * np.random.default_rng(4).normal(size=80)
    values[38] *= 1.4
    with History(quiet) as history:
        history.add(samples(values))
    values[40:] *= 1.12
    with History(url) as history:
        history.add(samples(values))
    assert main(["findings", "--history", url]) == 1
    assert ": 1.4 times, alone: boot.seconds on osv:a" in " ".join(capsys.readouterr().out.split())
    assert main(["findings", "--history", url, "--json"]) == 1
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [night["alone"] for night in row["nights"]] == [True]
    assert main(["findings", "--history", quiet, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "1.4 times, alone" in captured.err


def test_reports_tell_nights_and_creeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line each, in every format for people; several numbers of one night are one line."""
    monkeypatch.setenv("COLUMNS", "200")
    url, page = str(tmp_path / "h.sqlite"), tmp_path / "report.html"
    values = creeping(7)
    bad = 1 + 0.01 * np.random.default_rng(4).normal(size=80)
    bad[38] *= 1.4
    with History(url) as history:
        history.add(samples(values, releases=False))
        for cell, times in (("osv:b", 1.0), ("osv:c", 1.1), ("osv:d", 1.2)):
            history.add(replace(one, cell=cell, value=one.value * times) for one in samples(bad))
    assert main(["report", "--history", url, "--output", str(page)]) == 0
    for form in ("text", "markdown"):
        assert main(["report", "--history", url, "--format", form]) == 0
    lines = [*page.read_text().splitlines(), *capsys.readouterr().out.splitlines()]
    for told in (": 1.4 times, alone: boot.seconds on 3 cells", "no single step: boot.seconds on osv:a"):
        assert sum(told in line for line in lines) == 3, told
