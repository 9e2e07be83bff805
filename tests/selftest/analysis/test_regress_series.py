"""A number knows what it depends on: commits' order and branches, builders, and exact numbers that are none."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from harness.analysis.regression.drift_since import since
from harness.analysis.regression.finding import Finding
from harness.analysis.regression.findings import findings
from harness.analysis.regression.notes import Note, notes, unbridged
from harness.analysis.regression.series import numbers, series_of
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.records import Commit, Environment, Metric, Sample, Version

DAY = 86400.0
BEGAN = 1.78e9
CELL = "osv:x86_64-qemu-ramfs-all"
COUNT, SIZE = (
    Metric(name, unit, exact=True) for name, unit in (("boot.instructions", "instructions"), ("size.kernel", "B"))
)
WALL = Metric("boot.wall", "s")
HERE = Environment("runner-1", "a cpu", 4, "performance", "tcg", "QEMU 7.2.22", "6.1.0", 0.1)
GCC_12 = "compiler=gcc (Debian 12.2.0-14) 12.2.0; linker=GNU ld 2.40; boost=1_74"
GCC_13 = "compiler=gcc (Ubuntu 13.3.0-6) 13.3.0; linker=GNU ld 2.42; boost=1_83"


def version(
    count: int, *, day: float | None = None, build: str = "", tag: str = "v0.57.0", builder: str = ""
) -> Version:
    """The commit so many after a tag, made on that day."""
    commit = f"{tag[1:].replace('.', '')}{count:05d}".ljust(40, "e")
    when = BEGAN + (count if day is None else day) * DAY
    return Version(commit, f"{count}{build}", f"{tag}-{count}-g{commit[:8]}", when, builder)


def sample(of: Version, value: float, day: float, metric: Metric = COUNT, where: Environment = HERE) -> Sample:
    return Sample(metric, value, CELL, "", of, where, f"run-{day:.0f}", BEGAN + day * DAY + 3600)


def mainline(count: int, value: Callable[[int], float] = lambda at: 1000.0) -> list[Sample]:
    """A commit a day, each measured an hour after it was made."""
    return [sample(version(at), value(at), at) for at in range(1, count + 1)]


def told(found: list[Finding]) -> list[tuple[str, float]]:
    return [(one.after.described.rpartition("-g")[0], round(one.change, 4)) for one in found]


def kinds(said: list[Note]) -> list[str]:
    return [one.kind for one in said]


def shuffled(samples: list[Sample]) -> list[Sample]:
    return random.Random(7).sample(samples, len(samples))


@pytest.mark.parametrize("slow", [(22,), (22, 23, 24), (21, 25, 29), (2, 12, 30), (20,), (19, 20)])
@pytest.mark.parametrize("days", [-20.0, -3.5, 40.0])
def test_a_slow_clock_moves_no_commit(slow: tuple[int, ...], days: float) -> None:
    history = [
        sample(version(at, day=at + days if at in slow else at), 1000.0 if at < 20 else 1010.0, at)
        for at in range(1, 31)
    ]
    assert told(findings(shuffled(history))) == [("v0.57.0-20", 0.01)]
    assert notes(history) == []


def test_old_commits_that_are_measured_later_stand_in_their_place() -> None:
    def step(at: int) -> float:
        return 1000.0 if at < 20 else 1010.0

    history = mainline(30, step)
    late = list(range(5, 25, 3))
    backfilled = [sample(version(at), step(at), 31) if at in late else history[at - 1] for at in range(1, 31)]
    assert told(findings(shuffled(backfilled))) == [("v0.57.0-20", 0.01)]
    assert notes(backfilled) == []


@pytest.mark.parametrize("first", [1000, 11, 12], ids=["far", "as git counts", "a little ahead"])
@pytest.mark.parametrize("days", [(10,), (10, 15, 20), (9, 10, 11, 12), tuple(range(10, 30, 3))])
def test_a_side_branch_is_no_finding_of_the_mainline(first: int, days: tuple[int, ...]) -> None:
    side = [
        sample(
            replace(version(first + at, day=day + 0.05, build="side"), commit=f"{at:x}".rjust(40, "f")),
            1200.0,
            day + 0.05,
        )
        for at, day in enumerate(days)
    ]
    history = shuffled([*mainline(30), *side])
    assert findings(history) == []
    assert set(kinds(notes(history))) == {"branch"}
    if first == 1000:
        (one,) = notes(history)
        assert f"left at {version(days[0]).described}: boot.instructions +20%" in one.text
        (on_it,) = findings(history, branch=side[-1].version.commit)
        assert on_it.change == pytest.approx(0.2) and on_it.after.commit == side[0].version.commit


def test_a_step_of_the_mainline_is_found_beside_a_branch() -> None:
    side = [sample(version(1000 + at, day=10.05 + 5 * at), 1200.0, 10.05 + 5 * at) for at in range(5)]
    history = shuffled([*mainline(30, lambda at: 1000.0 if at < 20 else 1010.0), *side])
    assert told(findings(history)) == [("v0.57.0-20", 0.01)]


def test_the_graph_outranks_counts_and_clocks() -> None:
    """A planted commit that looks like the next night's: only its parents tell."""
    history = mainline(12)
    planted = sample(replace(version(12, day=11.5, build="planted"), commit="d" * 40), 1200.0, 11.6)
    after = [sample(version(at), 1000.0, at) for at in range(13, 20)]
    names = [one.version.commit for one in (*history, *after)]
    graph = {commit: (before,) for before, commit in pairwise(names)}
    every = shuffled([*history, planted, *after])
    assert findings(every, graph=graph | {"d" * 40: (names[10],)}) == []
    (one,) = findings(every, graph=graph | {"d" * 40: (names[10],)}, branch="d" * 40)
    assert one.before.commit == names[10] and one.after.commit == "d" * 40


def test_commits_that_nobody_measured_join_those_that_were() -> None:
    """Nights are seldom of neighbours. Of a merge the first parent counts: what was merged is not of the line."""
    commits = [f"{at:040x}" for at in range(30)]
    graph = {commit: (before,) for before, commit in pairwise(commits)}
    graph[commits[20]] = (commits[19], "b" * 40)
    graph["b" * 40] = (commits[3],)
    nights = [
        sample(Version(commits[at], str(at), "", BEGAN + at * DAY), 1000.0 if at < 16 else 1010.0, at)
        for at in (0, 5, 13, 18, 22, 29)
    ]
    merged = sample(Version("b" * 40, "b", "", BEGAN + 14 * DAY), 1500.0, 14.0)
    (one,) = findings(shuffled([*nights, merged]), graph=graph)
    assert (one.before.commit, one.after.commit) == (commits[13], commits[18])
    assert findings(shuffled([*nights, merged])) != [one], "the graph was not needed"


@pytest.mark.parametrize("known", [True, False], ids=["with a graph", "without"])
def test_a_checkout_that_is_never_clean_has_a_series(known: bool) -> None:
    """A submodule at another commit, in every night."""
    history = [
        replace(one, version=replace(one.version, described=f"{one.version.described}+changes"))
        for one in mainline(30, lambda at: 1000.0 if at < 20 else 1010.0)
    ]
    graph = {later.version.commit: (earlier.version.commit,) for earlier, later in pairwise(history)}
    (one,) = findings(shuffled(history), graph=graph if known else {})
    assert one.after == history[19].version
    clean = mainline(30)
    changed = [replace(history[25], value=1500.0)]
    assert findings([*clean, *changed], graph=graph if known else {}) == []
    assert kinds(notes([*clean, *changed], graph if known else {})) == ["branch"]


def test_a_forged_circle_of_commits_ends() -> None:
    circle = {"a" * 40: ("b" * 40,), "b" * 40: ("a" * 40,)}
    history = [sample(Version(name * 40, name, "", BEGAN), 1.0, day) for day, name in enumerate("ab")]
    assert len(series_of(history, circle)) == 1


def two_hosts(value: Callable[[int, bool], float], builders: tuple[str, str] = ("", "")) -> list[Sample]:
    found = []
    for at in range(1, 16):
        for other, host in enumerate(("debian12", "ubuntu2404")):
            where = replace(HERE, host=host)
            built = version(at, build="ab"[other], builder=builders[other])
            found.append(sample(built, value(at, bool(other)), at + other / 24, where=where))
            found.append(sample(built, value(at, bool(other)) * 6, at + other / 24, SIZE, where))
    return found


@pytest.mark.parametrize("builders", [("", ""), (GCC_12, GCC_13)], ids=["old records", "recorded"])
def test_two_builders_beside_each_other_are_no_finding(builders: tuple[str, str]) -> None:
    history = shuffled(two_hosts(lambda at, other: 1020.0 if other else 1000.0, builders))
    assert findings(history) == []
    (one,) = notes(history)
    assert one.kind == "builder" and "boot.instructions +2%" in one.text and "size.kernel +2%" in one.text
    assert ("gcc (Ubuntu 13.3.0-6) 13.3.0" in one.text) is bool(builders[0])


def test_a_step_that_both_builders_see_is_one_in_each() -> None:
    history = shuffled(two_hosts(lambda at, other: (1020.0 if other else 1000.0) * (1.05 if at >= 9 else 1.0)))
    assert {one.after.described[:9] for one in findings(history)} == {"v0.57.0-9"}
    assert kinds(notes(history)) == ["builder"]


def upgraded(
    at: int, where: Environment = HERE, builders: tuple[str, str] = ("", ""), both: bool = False
) -> list[Sample]:
    """Numbers of 30 nights, since one of which all is 2% more; whether `both` built that night's commit."""
    history = []
    for day in range(1, 31):
        new = day >= at
        built = version(day, build="ab"[new], builder=builders[new])
        history.append(sample(built, 1020.0 if new else 1000.0, day, where=where if new else HERE))
    if both:
        history.append(sample(version(at, build="a", builder=builders[0]), 1000.0, at - 0.02))
    return history


def test_what_another_builder_built_last_is_to_be_measured_again_once() -> None:
    """Until the builder of now has built it too: then what the builders differ by is known."""
    two = (GCC_12, GCC_13)
    apart, together = (numbers(shuffled(upgraded(16, builders=two, both=both))) for both in (False, True))
    assert unbridged(apart) == {(CELL, version(15, build="a", builder=GCC_12)): {"boot.instructions"}}
    assert unbridged(together) == unbridged(numbers(upgraded(16))) == {}
    debians = [replace(one, cell=CELL.replace("osv", "linux")) for one in upgraded(16, builders=two)]
    assert unbridged(numbers(debians)) == {}, "which can't be built again"


@pytest.mark.parametrize(
    ("where", "builders", "both"),
    [
        (replace(HERE, host_kernel="6.8.0"), ("", ""), False),
        (replace(HERE, host="runner-2"), ("", ""), False),
        (HERE, ("", ""), True),
        (HERE, (GCC_12, GCC_13), False),
        (HERE, (GCC_12, GCC_13), True),
        (replace(HERE, emulator="QEMU 8.2.2"), (GCC_12, GCC_12), False),
        (replace(HERE, firmware="SeaBIOS 1.17.0"), (GCC_12, GCC_12), False),
    ],
)
def test_an_upgraded_runner_is_no_commits_fault(where: Environment, builders: tuple[str, str], both: bool) -> None:
    history = shuffled(upgraded(16, where, builders, both))
    assert findings(history) == []
    (one,) = notes(history)
    assert one.kind == "builder" and "boot.instructions +2%" in one.text and "v0.57.0-16" in one.text
    assert ("of the same commits" in one.text) is both


def test_without_any_sign_of_another_builder_it_is_the_commits() -> None:
    assert told(findings(upgraded(16))) == [("v0.57.0-16", 0.02)] and notes(upgraded(16)) == []


def test_hosts_of_the_moment_are_no_builders() -> None:
    """A cloud's runners have another name each night."""
    history = [
        replace(one, environment=replace(HERE, host=f"fv-az{day}"))
        for day, one in enumerate(mainline(30, lambda at: 1000.0 if at < 20 else 1010.0))
    ]
    assert told(findings(history)) == [("v0.57.0-20", 0.01)]


def test_a_builder_changes_once_however_much_it_builds() -> None:
    history = [
        replace(one, cell=f"osv:x86_64-qemu-{fs}-all", metric=metric, id=f"{one.id}{fs}{metric.name[:4]}")
        for one in upgraded(16, builders=(GCC_12, GCC_13))
        for fs in ("ramfs", "rofs", "zfs")
        for metric in (COUNT, SIZE, replace(SIZE, name="size.section.text"))
    ]
    assert findings(history) == []
    (one,) = notes(history)
    assert "another builder since v0.57.0-16" in one.text and "linker GNU ld 2.40 → GNU ld 2.42" in one.text


def test_a_noisy_number_is_split_by_what_built_it() -> None:
    dice = random.Random(1)
    history = [
        sample(
            version(at, builder=GCC_12 if at < 30 else GCC_13), dice.gauss(1.0 if at < 30 else 1.2, 0.01), at, WALL
        )
        for at in range(1, 60)
    ]
    assert len(series_of(history)) == 2 and findings(history) == []
    (one,) = notes(history)
    assert one.kind == "builder" and "no exact number" in one.text
    silent = [replace(one, version=replace(one.version, builder="")) for one in history]
    assert told(findings(silent))[0][0] == "v0.57.0-30", "the step is there to be found"


def test_an_exact_number_that_is_none_is_judged_as_noise() -> None:
    dice = random.Random(1)
    history = [
        sample(version(at), round(dice.gauss(1e6, 800)), at + boot / 24)
        for at in range(1, 16)
        for boot in range(3)
    ]
    assert findings(history) == []
    (one,) = notes(history)
    assert one.kind == "exactness" and "said to be exact" in one.text and "14 others" in one.text
    stepped = [
        replace(one, value=one.value * (1.05 if one.version.committed > BEGAN + 7 * DAY else 1)) for one in history
    ]
    (step,) = findings(stepped)
    assert step.after.described.startswith("v0.57.0-8-") and not step.metric.exact


def test_builds_of_one_commit_that_differ_time_and_again_are_noise() -> None:
    """On one host, with nothing recorded: what can't be put in an order is not exact."""
    history = [
        sample(version(at, build="ab"[other]), 1020.0 if other else 1000.0, at + other / 24)
        for at in range(1, 16)
        for other in (0, 1)
    ]
    assert findings(history) == [] and kinds(notes(history)) == ["exactness"]


def test_how_a_load_was_put_on_is_part_of_the_series() -> None:
    dice = random.Random(1)
    metric = Metric("app.redis.get.p99", "us")
    history = [
        replace(
            sample(version(at), dice.gauss(3.0 if at < 30 else 5.0, 0.02), at, metric),
            procedure=f"duration={3 if at < 30 else 5}",
        )
        for at in range(1, 60)
    ]
    assert len(series_of(history)) == 2 and findings(history) == []


def test_records_of_all_this_go_through_a_line(tmp_path: Path) -> None:
    one = replace(upgraded(2, builders=(GCC_12, GCC_13))[0], procedure="memory=1024")
    path = tmp_path / "lines"
    path.write_bytes(line_of(one) + line_of(Commit("a" * 40, "b" * 40)))
    with path.open("rb") as file:
        assert list(records_in(file)) == [one, Commit("a" * 40, "b" * 40)]


def test_what_is_grouped_once_says_the_same() -> None:
    """Findings, notes and creeps of one grouping, and each of its own."""
    history = [*mainline(30, lambda at: 1000.0 + 5 * (at > 12)), *two_hosts(lambda at, second: 700.0 + 3 * second)]
    once = numbers(history)
    assert findings(once) == findings(history) != []
    assert notes(once) == notes(history) and since(once) == since(history)
    assert once.series == series_of(history) and numbers(once) is once
