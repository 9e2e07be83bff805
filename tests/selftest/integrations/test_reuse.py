"""Reused verdicts: by which rules one stands, and real guests of which a run reuses, checks, raises the alarm."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from history_records import judged

from harness.integrations.pytest_plugin.reuse import in_order
from harness.integrations.reuse.plan import ReusePlan, Standing
from harness.integrations.reuse.rules import chance_of_change, is_drawn, is_unsteady, standing_verdict
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.reuse_key import ReuseKeys
from harness.runner.session import Session
from harness.runner.verdict import Outcome

TOP = Path(__file__).parents[3]
CELL = "linux:qemu-rofs"
TESTS = ("stress-ng-nop", "stress-ng-cap")
EXPECTS_ANYTHING = """
[[expect]]
cells = "linux:*"
tests = "stress-ng-*"
outcome = ["failed", "passed"]
reason = "so that no outcome of the test itself fails the run"
expires = 2099-01-01
"""


def runs(*outcomes: str, key: str = "k") -> list[VerdictRecord]:
    """Runs of one test in a row. An outcome in capitals was not expected."""
    return [
        judged(outcome=word.lower(), expected=word.islower(), taken=float(number), run=f"r{number}", reuse_key=key)
        for number, word in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    "same, stands",
    [
        (["passed"], "r0"),
        (["passed", "passed"], "r1"),
        (["failed"], "r0"),
        (["crashed"], "r0"),
        (["passed", "reused"], "r0"),
        (["harness_error", "passed"], "r1"),
        ([], ""),
        (["reused"], ""),
        (["passed", "failed"], ""),
        (["passed", "flaky"], ""),
        (["flaky"], ""),
        (["harness_error"], ""),
        (["timed_out"], ""),
        (["hung"], ""),
        (["boot_failed"], ""),
        (["skipped"], ""),
    ],
)
def test_only_a_clear_verdict_stands(same: Sequence[str], stands: str) -> None:
    found = standing_verdict(runs(*same), [])
    assert (found.run if found else "") == stands


@pytest.mark.parametrize(
    "recent, unsteady",
    [
        (["passed"] * 5, False),
        (["failed"] * 5, False),
        (["passed"] * 30 + ["FAILED"], True),
        (["FAILED"] * 20 + ["passed"], True),
        (["passed"] * 20 + ["FAILED"] * 5 + ["passed"] * 10, False),
        (["passed", "FAILED"] * 10 + ["passed"] * 3, True),
        (["passed"] * 10 + ["flaky"], True),
    ],
)
def test_what_is_flaky_or_only_just_mended_runs(recent: Sequence[str], unsteady: bool) -> None:
    assert is_unsteady(runs(*recent)) is unsteady
    assert (standing_verdict(runs("passed"), runs(*recent)) is None) is unsteady


def test_the_share_that_is_drawn_is_the_runs_own() -> None:
    names = [f"tst-{number}.so" for number in range(4000)]
    drawn = [{name for name in names if is_drawn(run, "c", name, 0.05)} for run in ("r1", "r1", "r2")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0.03 < len(drawn[0]) / len(names) < 0.07
    assert not any(is_drawn("r", "c", name, 0.0) for name in names)
    assert all(is_drawn("r", "c", name, 1.0) for name in names)


def test_what_changed_often_or_lately_is_likeliest_to_change() -> None:
    def chance(*outcomes: str, is_new: bool = True) -> float:
        return chance_of_change(runs(*outcomes), is_new)

    never, lately = chance(*["passed"] * 30), chance(*["passed"] * 30, "FAILED")
    long_ago = chance("passed", "FAILED", "FAILED", *["FAILED"] * 30)
    often = chance(*["passed", "FAILED"] * 15)
    assert 0 < never == chance() < long_ago < lately < often
    assert chance(*["passed"] * 5, "harness_error", "reused", "skipped") == never, "they say nothing"
    assert chance("passed", is_new=False) < never


def test_what_does_not_run_begins_last_and_what_tells_most_first(session: Session) -> None:
    cell = session.cell(CELL)
    programs = session.longest_first([cell])
    assert in_order(session, programs, ReusePlan()) == programs
    keys = {(str(cell), program.name): "k" for _, program in programs}
    reused, likely = programs[0][1].name, programs[-1][1].name
    chances = {about: 1.0 if about[1] == likely else 0.01 for about in keys}
    plan = ReusePlan({(str(cell), reused): Standing("passed", "", "r", "v")}, keys, chances)
    ordered = [program.name for _, program in in_order(session, programs, plan)]
    assert sorted(ordered) == sorted(program.name for _, program in programs)
    assert (ordered[0], ordered[-1]) == (likely, reused)


def test_a_check_that_says_nothing_is_no_difference() -> None:
    standing = Standing("passed", "it did", "r1", "v1")
    assert standing.difference("failed") == "failed, where passed would have been reused from r1 (v1)"
    assert {one for one in Outcome if not standing.difference(one)} == {"passed", "flaky", "harness_error"}


def test_a_plan_reaches_another_process_whole() -> None:
    standing = Standing("failed", "a \u2028 b", "r", "v", checked=True)
    plan = ReusePlan({("c", "t"): standing}, {("c", "t"): "k"}, {("c", "t"): 0.5})
    assert ReusePlan.from_json(plan.to_json()) == plan


def test_a_key_is_of_what_runs(session: Session) -> None:
    """The program, its machine; not the limits."""
    cell = session.cell(CELL)
    image, keys = session.image(cell), ReuseKeys(session)
    program = session.program(cell, TESTS[0])
    key = keys.key(image, program)
    assert key == ReuseKeys(session).key(image, program) and len(key) == 32
    assert key == keys.key(image, replace(program, limit=program.limit + 1))
    others = [
        keys.key(image, replace(program, memory=1024)),
        keys.key(image, replace(program, cpus=2)),
        keys.key(image, replace(program, command=f"{program.command} ")),
        keys.key(image, session.program(cell, TESTS[1])),
        keys.key(replace(image, cmdline=f"{image.cmdline} quiet"), program),
    ]
    assert len({key, *others}) == 6 and "" not in others
    asked = ReuseKeys(Session(session.osv_root, session.cache, fork=True))
    assert asked.key(image, program) == key  # Linux's guests are forks in any case
    unknown = replace(image, cell=replace(cell, hypervisor="xen"))
    assert keys.key(unknown, program) == ""


def test_a_verdict_on_a_boot_is_not_reused_for_a_fork(session: Session) -> None:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    cell = session.cell("osv:qemu-rofs")
    image, program = session.image(cell), session.program(cell, "tst-hello.so")
    asked = Session(session.osv_root, session.cache, fork=True)
    assert len({ReuseKeys(one).key(image, program) for one in (session, asked)} - {""}) == 2


class Night:
    """Runs of `TESTS` in real guests, with one history."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self.history = str(folder / "history.sqlite")

    def run(self, *options: str) -> tuple[int, str, dict[str, dict[str, str]]]:
        """The status, what was said, and the properties of each test."""
        self._number += 1
        xml = self._folder / f"{self._number}.xml"
        words = ["tests/unit", "--cell", CELL, "-k", " or ".join(TESTS), "--reuse", "-p", "no:cacheprovider"]
        words += ["--history", self.history, "--runs", str(self._folder / "runs"), "--junitxml", str(xml)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *options], cwd=TOP, capture_output=True, text=True
        )
        cases = [
            {row.attrib["name"]: row.attrib["value"] for row in case.iterfind("properties/property")}
            for case in ET.parse(xml).iter("testcase")
        ]
        return done.returncode, done.stdout + done.stderr, {case["test"]: case for case in cases}

    def counts(self) -> dict[str, object]:
        """What the last run says of itself in the history."""
        with History(self.history) as history:
            return dict(max(history.documents("reuse"), key=lambda one: one.taken).body)


def test_nothing_runs_twice_and_a_check_that_differs_is_an_alarm(session: Session, tmp_path: Path) -> None:
    session.runner(session.cell(CELL)).prepare()
    night = Night(tmp_path)
    status, said, cases = night.run()
    assert (status, {case["outcome"] for case in cases.values()}) == (0, {"passed"}), said
    with History(night.history) as history:
        first = history.judged()
    assert len(first) == 2 and len({one.reuse_key for one in first} - {""}) == 2

    status, said, cases = night.run("--reuse-check", "0%", "-n", "1")
    assert (status, {case["outcome"] for case in cases.values()}) == (0, {"reused"}), said
    assert f"2 reused from {first[0].run}" in said and "2 reused in" in said, said
    assert " passed" not in said.splitlines()[-1] and " skipped" not in said.splitlines()[-1]
    assert all(first[0].run in case["reason"] for case in cases.values())
    assert night.counts() == {"ran": 0, "reused": 2, "checked": 0, "differed": {}}
    with History(night.history) as history:
        assert sorted(one.outcome for one in history.judged()) == ["passed", "passed", "reused", "reused"]

    # A history says of one of them that it failed, when the very same thing ran.
    planted, other = (next(one for one in first if one.test == test) for test in TESTS)
    night.history = str(tmp_path / "planted.sqlite")
    with History(night.history) as history:
        history.add([replace(planted, outcome="failed", reason="planted", id="planted"), other])
    (tmp_path / "expectations.toml").write_text(EXPECTS_ANYTHING)
    status, said, cases = night.run("--reuse-check", "100%", "--project", str(tmp_path))
    assert {case["outcome"] for case in cases.values()} == {"passed"}, said
    assert status == pytest.ExitCode.TESTS_FAILED and " failed" not in said.splitlines()[-1], said
    difference = f"passed, where failed would have been reused from {planted.run} ({planted.version.described})"
    assert "the harness's rule of reuse is broken" in said and f"{planted.test}: {difference}" in said
    assert cases[TESTS[0]]["reuse_check"] == difference and cases[TESTS[1]]["reuse_check"] == "agrees"
    assert night.counts() == {"ran": 2, "reused": 0, "checked": 2, "differed": {planted.test: difference}}


def test_without_being_asked_nothing_is_reused(session: Session, tmp_path: Path) -> None:
    """Who names a test wants it run, and its verdict has no key that nobody looked for."""
    words = ["tests/unit", "--cell", CELL, "-k", TESTS[0], "-q", "-p", "no:cacheprovider"]
    words += ["--history", str(tmp_path / "h.sqlite"), "--runs", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    with History(tmp_path / "h.sqlite") as history:
        (verdict,) = history.judged()
    assert verdict.reuse_key == ""


@pytest.mark.parametrize("text", ["x", "101%", "-1", "nan"])
def test_a_share_that_is_none_is_a_usage_error(text: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest", "tests/unit", "--cell", CELL, f"--reuse-check={text}", "--co", "-q"]
    done = subprocess.run(words, cwd=TOP, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR and "--reuse-check" in done.stderr
