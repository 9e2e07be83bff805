"""Nights as the morning's page takes them: where one ends, and how many texts a page may hold."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from planted_nights import BEGAN, CELLS, Planted, version

from harness.metrics.history.records import VerdictRecord
from harness.report.html.chromium import Browser, found
from harness.report.html.page import page
from harness.report.morning.nights import GAP, LONGEST, Nights, Plan


@pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")
def test_another_host_each_night_makes_no_endless_page(tmp_path: Path) -> None:
    """As on GitHub's runners: below 20,000 pixels, what is measured is still drawn, a kind of host is one row."""
    path = tmp_path / "report.html"
    path.write_text(page(Planted(60, moving_hosts=True).told()), encoding="utf-8")
    with Browser() as browser:
        browser.open(path)
        assert browser.evaluate("document.documentElement.scrollHeight") < 20_000
        figures = "document.querySelectorAll('#view figure').length"
        browser.evaluate("location.hash = '#metric/app.nginx.steady.throughput'")
        browser.evaluate(
            "new Promise((done) => { const look = () => document.querySelector('#view h2') ? done(1) :"
            " setTimeout(look, 50); look(); })"
        )
        assert browser.evaluate(figures) > 0
        rows = "Shards.load('part-environment').then(({ html }) => html.match(/<tr>/g).length)"
        assert 1 < browser.evaluate(rows) <= 41


@pytest.mark.parametrize("seed", range(6))
def test_nights_are_parted_by_gaps_and_cut_where_they_do_not_end(seed: int) -> None:
    """Row by row, as they are defined."""
    dice = Random(seed)
    row = Planted(1).told().judged[0]
    taken, moments = BEGAN, []
    for _ in range(300):
        taken += dice.choice([0.0, 60.0, 3600.0, 2 * 3600.0, GAP, GAP + 1, 9 * 3600.0])
        moments.append(taken)
    rows = [replace(row, taken=one, cell=dice.choice(CELLS)) for one in moments]
    spans: list[list[VerdictRecord]] = []
    for one in rows:
        if not spans or one.taken - spans[-1][-1].taken > GAP or one.taken - spans[-1][0].taken > LONGEST:
            spans.append([])
        spans[-1].append(one)
    dice.shuffle(rows)
    expected = [(span[0].taken, span[-1].taken, {one.cell for one in span}) for span in spans]
    nights = Nights(rows)
    assert len(expected) > 20 and any(len(span) > 3 for span in spans)
    found = [(one.began, one.ended, one.cells) for one in nights.every]
    assert found == [one for one in expected if one in found], "of all nights, those"
    assert all(len(one[2]) < 2 for one in expected if one not in found), "that are somebody's own run"


def test_a_night_after_each_commit_is_a_night_of_its_own() -> None:
    """Five nights without a pause, planned for two arches, and asked for once more before the third ran: results
    of one version alone, in an hour, belong to two nights."""
    row = Planted(1).told().judged[0]
    x86, arm = "osv:x86_64-qemu-rofs-all", "osv:aarch64-qemu-rofs-all"
    rows, plans = [], []
    for number in range(5):
        began = BEGAN + number * 1200
        plans += [
            Plan(began + 10 * late, cell.split("-")[0][4:], frozenset([cell]))
            for late, cell in enumerate([x86, arm])
        ]
        plans += [replace(plan, taken=plan.taken + 20) for plan in plans[-2:] if number == 2]
        rows += [
            replace(row, cell=cell, taken=began + 60 + second, version=version("v", min(number, 3)))
            for cell in ([x86, arm] if number != 3 else [x86]) for second in (0, 900)
        ]  # fmt: skip
    assert len(Nights(rows).every) == 1
    nights = Nights(rows, plans)
    assert [one.cells for one in nights.every] == [{x86, arm}, {x86, arm}, {x86, arm}, {x86}, {x86, arm}]
    assert nights.numbers([one.taken for one in rows]) == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 2 + [4] * 4
    assert [nights.number(one.taken) for one in rows] == nights.numbers([one.taken for one in rows])
    assert not nights.missing()
    missed = Nights([one for one in rows if one.cell == x86 or one.taken < rows[-4].taken], plans)
    assert [one.cell for one in missed.missing()] == [arm]
