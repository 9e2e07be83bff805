"""The facts of a morning: each planted event stands on the page, in its class, and nothing else is called new."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random

import planted_nights
import pytest
from planted_nights import BEGAN, CELLS, DAY, PASS, Planted, version
from rich.console import Console

from harness.cli import main
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.history.verdict_table import VerdictTable
from harness.metrics.records import Better
from harness.report.html.chromium import Browser, found
from harness.report.html.page import page
from harness.report.markdown import markdown
from harness.report.model.data import ReportData
from harness.report.model.spans import Span, recorded_spans, spans_of
from harness.report.morning.commits import Commits
from harness.report.morning.report import Morning, morning
from harness.report.terminal import show

ROFS, ZFS, RAMFS, EXT, LINUX = CELLS
LAST = 39
CRASH = "page fault outside application, addr: 0x10"
FLAKY_FROM, OLD_FROM, STALE_FROM, STEP_FROM, FIXED_FROM = 12, 20, 30, 25, 37


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """A crash on two cells last night, a flaky test, an old failure, a fix, an expectation that is out of date."""
    if not cell.startswith("osv"):
        return None
    if test == "tst-a.so" and night == LAST and cell in (ZFS, EXT):
        return "crashed", False, CRASH
    if test == "tst-b.so" and night >= FLAKY_FROM and cell in (ROFS, RAMFS) and dice.random() < 0.25:
        return "hung", False, "nothing happened for 60 s"
    if test == "tst-c.so" and night >= OLD_FROM and cell == EXT:
        return "failed", False, "the program ended with status 1"
    if test == "tst-d.so" and 28 <= night < FIXED_FROM:
        return "failed", False, "the program ended with status 2"
    if test == "tst-utimes.so":
        late = night >= STALE_FROM
        return ("passed", False, f"passed; {PASS}") if late else ("failed", True, "it ended with status 1")
    return None


def sizes(night: int, cell: str) -> float:
    """A step of 2% on three of OSv's four cells, and next to nothing with every commit."""
    return 1 + night * 1e-6 + (0.02 if night >= STEP_FROM and cell in (ROFS, ZFS, RAMFS) else 0.0)


def planted(seed: int = 1, moving_hosts: bool = False) -> ReportData:
    missing = frozenset({(LAST, RAMFS)})
    return Planted(LAST + 1, says, missing, sizes, moving_hosts=moving_hosts, seed=seed).told()


@pytest.fixture(scope="module")
def told() -> ReportData:
    return planted()


def facts_of(told: ReportData, commits: Commits | None = None) -> str:
    """The part of the page that stands first."""
    text = page(told, commits=commits)
    start = text.index('<section id="morning"')
    return text[start : text.index("</section>", start)]


def names(facts: str, kind: str) -> list[str]:
    return re.findall(rf'data-{kind}="([^"]*)"', facts)


@pytest.mark.parametrize("moving_hosts", [False, True], ids=["one host", "another host each night"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_planted_event_stands_in_its_class_and_nothing_else(seed: int, moving_hosts: bool) -> None:
    """With other dice, and where every night has another host."""
    facts = facts_of(planted(seed, moving_hosts))
    assert names(facts, "new") == ["tst-a.so"]
    assert names(facts, "missing") == [RAMFS]
    assert names(facts, "flaky") == ["tst-b.so"]
    assert names(facts, "still") == ["tst-c.so"]
    assert names(facts, "fixed") == ["tst-d.so"]
    assert names(facts, "stale") == ["tst-utimes.so"]
    assert names(facts, "step") == [version(ROFS, STEP_FROM).commit[:12]]
    assert "3 of 4 cells" in facts
    assert "x86_64-qemu-ext, x86_64-qemu-zfs" in facts
    assert "for 10 nights" in facts
    assert "expectations.toml</code>, line 5" in facts
    assert f"{version(ROFS, LAST - 1).described}" in facts


def test_the_first_kilobytes_have_the_facts_without_a_script(told: ReportData) -> None:
    """Within 20 KB all facts of last night are there, and the title says the conclusion."""
    text = page(told).encode()[:20_000].decode("utf-8", "ignore")
    assert "<title>1 new failure, night of 30 Oct 2026</title>" in text
    for kind in ("new", "missing", "flaky", "still", "stale"):
        assert len(names(text, kind)) == 1
    assert "<script" not in text
    assert "147 of 160 as expected" not in text
    assert re.search(r"\d+ of 40 as expected on 4 of 5 cells", text)


def test_a_quiet_night_says_so() -> None:
    """Nothing is new, flaky or missing where nothing was planted."""
    facts = facts_of(Planted(20).told())
    kinds = ("new", "missing", "flaky", "still", "fixed", "stale", "step")
    assert [names(facts, kind) for kind in kinds] == [[]] * len(kinds)
    assert "50 of 50 as expected on 5 of 5 cells" in facts


def of(says_: object, nights: int = 20, **more: object) -> Morning:
    return morning(Planted(nights, says_, **more).told())  # type: ignore[arg-type]


def test_a_failure_of_a_version_that_passed_is_no_commits_doing() -> None:
    """No `since` where the same commit was good the night before; the words say why."""
    commits = [*range(19), 18]
    found = of(lambda night, cell, test, _: ("failed", False, "x") if (night, cell, test) == (19, ROFS, "tst-a.so")
               else None, commits=commits)  # fmt: skip
    (group,) = found.tests.new
    assert group.since is not None
    assert group.since[0].commit == group.since[1].commit
    assert "not this commit" in facts_of(Planted(
        20, lambda night, cell, test, _: ("failed", False, "x") if (night, cell, test) == (19, ROFS, "tst-a.so")
        else None, commits=commits).told())  # fmt: skip


def test_a_cell_that_boots_nothing_is_one_fact() -> None:
    """Not a fact a test; and the tests are not fixed by its coming back."""
    def dead(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        return ("boot_failed", False, "no console") if cell == ZFS and night in bad else None

    bad = {19}
    now = of(dead)
    assert [(one.cell, one.began) for one in now.tests.broken] == [(ZFS, 19)]
    assert not now.tests.new
    assert now.headline == "1 new failure"
    bad = {18}
    later = of(dead)
    assert not (later.tests.broken or later.tests.fixed or later.tests.flaky or later.tests.still)


def test_a_cell_is_newly_broken_once() -> None:
    """In its first night; from then on it is still broken, also where it had no result in between."""
    def dead(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        return ("boot_failed", False, "no console") if cell == ZFS and night >= 16 else None

    planted_ = Planted(20, dead, frozenset({(18, ZFS)}))
    found = morning(planted_.told())
    assert [(one.cell, one.began) for one in found.still_broken] == [(ZFS, 16)]
    assert (found.new_broken, found.headline) == ([], "No new failures")
    facts = facts_of(planted_.told())
    assert names(facts, "broken") == [ZFS] and 'id="new"' not in facts
    assert "1 cell still broken" in facts and "next to nothing, for 4 nights" in facts
    out = StringIO()
    show(planted_.told(), Console(file=out, width=80))
    assert "x86_64-qemu-zfs boots or runs next to nothing, for 4 nights" in out.getvalue()


def test_what_was_broken_on_several_cells_for_three_nights_was_not_flaky() -> None:
    """Of one cell alone so few failures do not tell; nor where they are of different nights."""
    def broken(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        bad = test == "tst-a.so" and cell in cells and nights[cell] <= night < nights[cell] + 3
        return ("failed", False, "status 1") if bad else None

    cells, nights = (ROFS, ZFS, EXT), dict.fromkeys((ROFS, ZFS, EXT), 15)
    now = of(broken, 20)
    assert [(one.test, len(one.cells)) for one in now.tests.fixed] == [("tst-a.so", 3)]
    assert not now.tests.flaky and not of(broken, 40).tests.fixed
    nights[ZFS], nights[EXT] = 13, 14
    assert [one.test for one in of(broken, 20).tests.flaky] == ["tst-a.so"]


def test_everything_is_one_click_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much for the first sight is in lists that open; each count is that of its facts."""
    def bad(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        number, failed = int(test[4:7]), ("failed", False, test)
        if cell == LINUX:
            return None
        if number < 20:
            return failed if night == 19 else None
        if number < 40:
            return failed if 5 <= night < 17 else None
        return ("", True, "") if number < 60 and night == 19 else None

    monkeypatch.setattr(planted_nights, "TESTS", tuple(f"tst-{number:03}.so" for number in range(130)))
    facts = facts_of(Planted(20, bad).told())
    for kind, link in (("new", "#new"), ("fixed", "#fixed"), ("unrun", "#missing")):
        assert len(set(names(facts, kind))) == len(names(facts, kind)) == 20
        assert re.search(rf'href="{link}">20 ', facts)
    assert "and 14 more tests" in facts and "and 14 more fixed tests" in facts


def test_what_did_not_run_is_told_and_is_no_pass() -> None:
    """A test that is gone, a fault of the harness, a cell that has been silent for five nights."""
    def quiet(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        if test == "tst-a.so" and night == 19:
            return "", True, ""
        return ("harness_error", False, "no disk") if (test, cell, night) == ("tst-b.so", EXT, 19) else None

    found = of(quiet, missing=frozenset((night, ZFS) for night in range(15, 20)))
    assert [(one.cell, one.nights) for one in found.missing] == [(ZFS, 5)]
    assert [(test, len(cells)) for test, cells in found.tests.unrun] == [("tst-a.so", 4)]
    assert [one.test for one in found.tests.faults] == ["tst-b.so"]
    assert not found.tests.new
    assert found.sign == "expected"


def test_a_flaky_test_that_fails_on_another_cell_is_not_new() -> None:
    """The same way of failing as where it is known to be flaky."""

    def spread(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        bad = (cell == ROFS and night % 3 == 0) or (cell == EXT and night == 19)
        return ("hung", False, "nothing for 60 s") if test == "tst-a.so" and bad else None

    found = of(spread)
    assert not found.tests.new
    assert [len(group.cells) for group in found.tests.flaky] == [2]


def test_suspects_are_named_and_their_words_are_text(tmp_path: Path) -> None:
    """Subjects and authors of the commits in the range, with links to where the checkout came from; no markup."""
    hostile = "<script>alert(1)</script> \u202e [x](javascript:1)"

    def git(*words: str) -> str:
        identity = ["-c", f"user.name={hostile}", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("remote", "add", "origin", "git@github.com:cloudius-systems/osv.git")
    made = []
    for number in range(4):
        git("commit", "-q", "--allow-empty", "-m", f"subject {number} {hostile}")
        made.append(git("rev-parse", "HEAD"))
    told = Planted(
        4, lambda night, cell, test, _: ("failed", False, hostile) if (night, test) == (3, "tst-a.so") else None
    ).told()
    known = {version(ROFS, night).commit: made[night] for night in range(4)}
    judged = [one if one.cell == LINUX else _at(one, known) for one in told.judged]
    facts = facts_of(ReportData([], judged), Commits(tmp_path))
    assert f'href="https://github.com/cloudius-systems/osv/commit/{made[3]}"' in facts
    assert "subject 3 &lt;script&gt;" in facts
    assert "subject 2" not in facts
    assert "<script" not in facts
    assert "\u202e" not in facts
    assert "1 suspect" in facts


def _at(one: VerdictRecord, known: Mapping[str, str]) -> VerdictRecord:
    return replace(one, version=replace(one.version, commit=known[one.version.commit]))


def test_a_checkouts_words_are_not_asked_with_anothers_options(tmp_path: Path) -> None:
    """What a history calls a commit may be anything: only a hash reaches git."""
    commits = Commits(tmp_path)
    assert commits.between("--output=/tmp/x", "0" * 40) == ((), 0)
    assert commits.one("--help").subject == ""


def test_somebodys_own_run_is_no_night(told: ReportData) -> None:
    """A run of one cell in the day after does not make all others missing."""
    own = [
        replace(one, taken=BEGAN + LAST * DAY + DAY / 2, id=f"{one.id}own", run="mine")
        for one in told.judged if one.cell == ROFS and one.run == f"night-{LAST}"
    ]  # fmt: skip
    found_ = morning(ReportData([], [*told.judged, *own]).safe)
    assert [one.cell for one in found_.missing] == [RAMFS]


@pytest.mark.skipif(found() is None, reason="Debian's package chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_facts_first(told: ReportData, tmp_path: Path, width: int, scheme: str) -> None:
    """Last night's failure is in the first window, nothing is wider, and every count leads to its facts."""
    path = tmp_path / "report.html"
    path.write_text(page(told), encoding="utf-8")
    with Browser() as browser:
        browser.open(path, width=width, height=900, scheme=scheme)
        top = browser.evaluate("document.querySelector('[data-new]').getBoundingClientRect().top")
        assert top < 600
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        links = browser.evaluate("[...document.querySelectorAll('.counts a')].map((a) => a.getAttribute('href'))")
        assert {"#new", "#missing", "#flaky", "#still", "#fixed", "#edit"} <= set(links)
        for link in links:
            assert browser.evaluate(f"!!document.querySelector({link!r})")
        assert "tst-a.so crashed on 2 cells" in browser.evaluate("document.querySelector('[data-new]').innerText")


def test_a_terminal_of_80_columns_gets_a_line_a_fact_newest_last(told: ReportData) -> None:
    """No line is wider, the conclusion ends it; a cell without a result shows no older one."""
    out = StringIO()
    show(told, Console(file=out, width=80, highlight=False))
    lines = out.getvalue().rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-2].startswith("1 new failure: night of")
    assert [line for line in lines if line.startswith(RAMFS)] == [f"{RAMFS}  ⚠ no result last night"]
    wanted = ("tst-c.so", "tst-b.so", "✗ tst-a.so")
    places = [next(n for n, line in enumerate(lines) if word in line) for word in wanted]
    assert places == sorted(places)


def test_a_tests_history_is_told_by_cell_and_failure(
    told: ReportData, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`osv-harness history test` says flaky where it is, newest failure last, in 80 columns."""
    where = str(tmp_path / "h.sqlite")
    with History(where) as history:
        history.add([one for one in told.judged if one.test == "tst-b.so"])
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["history", "test", "tst-b", "--history", where]) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("flaky" in line for line in lines) == 2
    failures = [line[:10] for line in lines if line.startswith("2026-")]
    assert failures == sorted(failures)
    assert failures


@pytest.mark.parametrize(
    ("event", "heading"),
    [
        ("nothing", "nothing broke, nothing changed beyond noise"), ("broken", "1 test broke"),
        ("flaky", "nothing broke"), ("step", "`size.kernel` +0.9%"), ("silent", "1 cell without a result"),
    ],
)  # fmt: skip
def test_a_pull_requests_conclusion_stands_first(event: str, heading: str) -> None:
    """For each of: nothing, a broken test, a flaky one, an exact step of 0.9%, a cell without a result."""

    def happens(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
        bad = (event == "broken" and night == 19) or (event == "flaky" and night % 3 == 1)
        return ("failed", False, "x") if bad and cell == ROFS and test == "tst-a.so" else None

    told = Planted(
        20, happens, frozenset({(19, ZFS)} if event == "silent" else ()),
        lambda night, cell: 1.009 if event == "step" and night == 19 and cell.startswith("osv") else 1.0,
    ).told()  # fmt: skip
    text = markdown(told)
    newer, base = version(ROFS, 19).described, version(ROFS, 18).described
    assert text.startswith(f"### OSv `{newer}` against base `{base}`: ")
    assert heading in text.splitlines()[0]
    assert ("| ≈ flaky | `tst-a.so`" in text) == (event == "flaky")
    assert "Nothing was compared" not in text


def test_nothing_compared_is_told_as_that() -> None:
    """One version alone, or two with nothing in common: never that nothing changed."""
    alone = markdown(Planted(1).told())
    apart = Planted(2).told()
    half = [one for one in apart.judged if (one.cell == ROFS) == (one.run == "night-0")]
    for text in (alone, markdown(ReportData([], half))):
        assert "othing was compared" in text.splitlines()[0]
        assert "beyond noise" not in text


def test_the_spans_of_a_table_are_those_of_its_records(told: ReportData) -> None:
    """In whatever order they stand, and where runs of a cell cross each other."""
    again = [replace(one, version=replace(one.version, digest="d"), taken=one.taken + 60) for one in told.judged]
    mixed = [*told.judged, *again]
    Random(1).shuffle(mixed)

    def bounds(spans: Iterable[Span]) -> set[tuple[str, str, float, float]]:
        return {(one.cell, one.version.commit, one.first, one.last) for one in spans}

    for some in ([], mixed[:1], mixed):
        found = recorded_spans(told.samples, VerdictTable.of(some))
        assert bounds(found) == bounds(spans_of([*told.samples, *some]))


def test_what_is_safe_stays_and_what_is_not_is_changed_wherever_it_stands(told: ReportData) -> None:
    built = replace(told.judged[0].version, described="v\x07")
    evil = replace(told.judged[0], reason="\x1b[31mred", version=built)
    unit = replace(told.samples[0], metric=replace(told.samples[0].metric, unit="s\x1b"))
    safe = ReportData([*told.samples, unit], [*told.judged, evil]).safe
    assert list(safe.judged)[:-1] == told.judged
    assert all(one is other for one, other in zip(safe.samples, told.samples, strict=False))
    shown = [safe.judged[-1].reason, safe.judged[-1].version.described, safe.samples[-1].metric.unit]
    assert not any(char in "".join(shown) for char in "\x1b\x07") and "red" in shown[0]
    assert safe.samples[-1].metric.better is Better.LOWER
