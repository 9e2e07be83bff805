"""A night's plan and what came of it: what could not run or told nothing is never green."""

from dataclasses import replace
from pathlib import Path

import pytest
from ci_nights import ALSO_OF_OSV, METRIC, OF_OSV, case, good, planned, row, sample

from harness.cli import main
from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.integrations.ci import cross_check, plan, results, summary
from harness.metrics.history.store import History


def test_a_plan_builds_each_kernel_once_and_runs_what_runs_here() -> None:
    planned = plan.plan(
        Matrix.load(),
        [
            row(OF_OSV),
            row(ALSO_OF_OSV),
            row(f"{OF_OSV}+debug"),
            row("osv:x86_64-xen-rofs-all", "can't run on this host", "no Xen"),
            row("osv:aarch64-qemu-rofs-all"),
        ],
        "x86_64",
    )
    assert [one.cell for one in planned if one.runs] == [OF_OSV, ALSO_OF_OSV, f"{OF_OSV}+debug"]
    assert [one["cells"] for one in plan.builds(planned)] == [f"{OF_OSV} {ALSO_OF_OSV}", f"{OF_OSV}+debug"]
    assert len({one["slug"] for one in plan.cells(planned)}) == 3
    assert [one.reason for one in planned if not one.runs] == ["no Xen"]


def test_more_jobs_than_github_takes_are_refused() -> None:
    one = plan.plan(Matrix.load(), [row(OF_OSV)], "x86_64")[0]
    with pytest.raises(HarnessError, match="257 jobs"):
        plan.cells([replace(one, cell=f"{one.cell}{at}") for at in range(257)])


def test_a_plan_of_nothing_readable_is_an_error_and_not_an_empty_night(tmp_path: Path) -> None:
    (tmp_path / "matrix.json").write_text('[{"no": "name"}]')
    assert main(["ci", "plan", str(tmp_path / "matrix.json")]) == 2
    assert main(["ci", "summary", str(tmp_path)]) == 2


def test_a_cell_that_could_not_run_or_told_nothing_is_never_green() -> None:
    cannot = planned("osv:x86_64-xen-rofs-all", standing="can't run on this host", reason="no `Xen` | here")
    told = results.Night([*planned(OF_OSV, ALSO_OF_OSV), *cannot], good("a"))
    text = summary.summary(told)
    lines = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "✓" in lines[f"`{OF_OSV}`"]
    assert "⚠" in lines[f"`{ALSO_OF_OSV}`"]
    assert "✓" not in lines["`osv:x86_64-xen-rofs-all`"]
    assert lines["`osv:x86_64-xen-rofs-all`"].count("|") == 4
    assert lines["`osv:x86_64-xen-rofs-all`"].count("`") == 6
    assert not summary.green(told)
    assert summary.green(replace(told, planned=[*planned(OF_OSV), *cannot]))
    assert not summary.green(results.Night(cannot, []))
    assert not summary.green(results.Night(planned(OF_OSV), [case("a", "skipped")]))


def test_reused_verdicts_are_counted_and_a_check_that_differs_is_never_green() -> None:
    reused = [case("a", "reused", "reused from r (v): passed"), case("b", "passed")]
    reused = [replace(one, bad=False) for one in reused]
    told = results.Night(planned(OF_OSV), reused)
    assert summary.green(told) and "1 `reused`, 1 `passed`" in summary.summary(told)
    assert summary.green(results.Night(planned(OF_OSV), reused[:1])), "what was reused is a result"
    differs = results.Night(planned(OF_OSV), [reused[0], replace(reused[1], differs="passed, where `failed`")])
    assert not summary.green(differs)
    assert "⚠ the harness's rule of reuse is broken: " in summary.summary(differs)
    assert "`b`: `passed, where \u02cbfailed\u02cb`" in summary.summary(differs)


def test_junit_is_read_with_its_errors_and_whatever_a_guest_wrote(tmp_path: Path) -> None:
    plan.write(planned(OF_OSV), tmp_path / "plan-x86_64.json")
    prop = '<property name="{}" value="{}"/>'
    told = "".join(
        prop.format(*pair)
        for pair in (
            ("cell", OF_OSV), ("test", "t"), ("outcome", "crashed"), ("reason", "\u202e&lt;b&gt;"),
            ("reuse_check", "crashed, where \u202e"),
        )
    )
    (tmp_path / "a.xml").write_text(
        f"<testsuites><testsuite><testcase><properties>{told}</properties><failure message='x'/></testcase>"
        "<testcase classname='tests.unit' name='gone'><error message='boom'/></testcase>"
        "<testcase classname='tests.unit' name='fine'/></testsuite></testsuites>"
    )
    first, second = results.night(tmp_path).cases
    assert (first.test, first.outcome, first.bad) == ("t", "crashed", True)
    assert "\u202e" not in first.reason + first.differs and first.differs.startswith("crashed, where ")
    assert not second.differs
    assert (second.cell, second.reason, second.bad) == ("", "boom", True)
    (tmp_path / "a.xml").write_text("<testsuites>")
    with pytest.raises(HarnessError, match="no JUnit"):
        results.night(tmp_path)


def test_two_harnesses_must_take_the_same_exact_numbers(tmp_path: Path) -> None:
    a, b = [sample(METRIC, OF_OSV, 100.0)], [sample(METRIC, OF_OSV, 101.0)]
    assert cross_check.differences(a, a) == (1, [])
    count, (found,) = cross_check.differences(a, b)
    assert (count, found.worse) == (1, True)
    assert not cross_check.differences(b, a)[1][0].worse
    with pytest.raises(HarnessError, match="no exact number"):
        cross_check.differences(a, [])
    for name, samples in (("a", a), ("b", b)):
        with History(tmp_path / name) as history:
            history.add(samples)
    assert main(["ci", "same", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert main(["ci", "same", str(tmp_path / "b"), str(tmp_path / "a")]) == 0
