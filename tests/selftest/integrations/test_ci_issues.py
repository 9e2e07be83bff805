"""Issues of nights: one for one cause, as long as it is there; what a guest wrote is no markup in it."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ci_nights import ALSO_OF_OSV, HERE, METRIC, OF_OSV, case, good, planned, sample, version
from markdown_it import MarkdownIt

from harness.analysis.hunt.record import Hunted
from harness.analysis.regression.drift_since import Since
from harness.analysis.regression.finding import Finding
from harness.core.errors import HarnessError
from harness.integrations.ci import failure_groups, issues, results
from harness.integrations.ci.issues import LABEL, Action
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Metric, Version
from harness.report.morning.commits import Commits

RUN = "https://ci.example/1"


def seen(
    cases: Iterable[results.Case], *cells: str, worse: Iterable[Finding] = (), parts: Sequence[Finding] = ()
) -> failure_groups.NightFailures:
    findings = list(worse)
    samples = [sample(one.metric, one.cell) for one in findings]
    night = results.Night(planned(*(cells or (OF_OSV,))), list(cases))
    return failure_groups.failure_groups(night, findings, samples, parts=parts)


def as_told(action: Action, number: int = 7, **more: Any) -> dict[str, Any]:
    """The issue that an action leaves, as `gh issue list --json` tells of it."""
    told = {"number": number, "title": action.title, "body": action.body, "labels": [{"name": LABEL}]}
    return {**told, "state": "OPEN", "stateReason": "", **more}


def verbs(now: failure_groups.NightFailures, *rows: dict[str, Any]) -> list[tuple[str, int]]:
    wanted, _ = issues.actions(now, issues.parse_issues(rows), RUN)
    return [(action.verb, action.number) for action in wanted]


def opened(now: failure_groups.NightFailures) -> Action:
    (action,), _ = issues.actions(now, [], RUN)
    return action


def test_an_issue_lives_as_long_as_its_cause() -> None:
    failing = seen([case("a"), *good("b", "c", "d")])
    action = opened(failing)
    there = as_told(action)
    assert action.verb == "open"
    assert verbs(failing, there) == []  # told already
    assert verbs(seen(good("a", "b")), there) == [("close", 7)]
    assert verbs(seen(good("b")), there) == []  # it was not run: nothing is known
    both = seen(
        [case("a"), *good("b"), case("a", cell=ALSO_OF_OSV), *good("b", cell=ALSO_OF_OSV)], OF_OSV, ALSO_OF_OSV
    )
    assert verbs(both, there) == [("update", 7)]
    closed = as_told(action, state="CLOSED", stateReason="COMPLETED")
    assert verbs(failing, closed) == [("reopen", 7)]
    assert verbs(seen(good("a")), closed) == []
    accepted = as_told(action, state="CLOSED", stateReason="NOT_PLANNED")
    assert verbs(failing, accepted) == []


SEED = f"{ALSO_OF_OSV}/tst-a.so@2c3s17t31p"


def hunted(first: int, last: int, night: int, seed: str = "", **more: Any) -> Document:
    """The record of a hunt for a test, whose last schedule failed if there is a seed."""
    passed = last - first + (not seed)
    found = Hunted(ALSO_OF_OSV, "tst-a.so", first, last, passed, version("a"), 1e9 + night * 86400, seed)
    found = replace(found, outcome="crashed", reason="page fault at 0x10", console=("[backtrace]", "0x40 <f+4>"))
    return replace(found if seed else replace(found, outcome=""), **more).document("r")


def by(*hunts: Document, cases: Sequence[results.Case] = ()) -> failure_groups.NightFailures:
    """What a night says whose tests passed, but for `cases`, after these hunts."""
    night = results.Night(planned(OF_OSV, ALSO_OF_OSV), [*cases, *good("b", "c"), *good("b", cell=ALSO_OF_OSV)])
    return failure_groups.failure_groups(night, [], [], documents=hunts)


def test_a_find_of_a_hunt_is_an_issue_with_its_seed_until_enough_schedules_passed() -> None:
    found = hunted(1, 40, 1, SEED)
    now = by(found, cases=good("tst-a.so", cell=ALSO_OF_OSV))
    action = opened(now)
    assert action.title.startswith("page fault") and f"osv-harness replay {SEED}" in action.body
    assert f"`{SEED}` at `a`" in action.body and "0x40 <f+4>" in action.body
    there = as_told(action)
    assert verbs(now, there) == []
    again = by(found, hunted(41, 50, 2, SEED.replace("31p", "32p")))
    wanted, _ = issues.actions(again, issues.parse_issues([there]), RUN)
    assert [(one.verb, one.number) for one in wanted] == [("update", 7)]
    assert "32p" in wanted[0].body and "31p" not in wanted[0].body
    assert verbs(again, as_told(wanted[0])) == []
    accepted = as_told(action, state="CLOSED", stateReason="NOT_PLANNED")
    assert verbs(again, accepted) == []
    assert verbs(by(found, hunted(41, 439, 2)), there) == []  # 399 of 400 passed
    assert verbs(by(found, hunted(41, 300, 2), hunted(301, 440, 3)), there) == [("close", 7)]
    assert verbs(by(), there) == []  # its history is lost: nothing is known


def test_a_find_and_a_failure_of_the_same_test_are_one_issue() -> None:
    found = hunted(1, 4, 1, SEED, outcome="failed", reason="status 1")
    plain = opened(by(cases=[case("tst-a.so")]))
    both = by(found, cases=[case("tst-a.so")])
    assert len(both.groups) == 1 and "on 2 cells" in both.groups[0].title
    assert verbs(both, as_told(plain)) == [("update", 7)]


def test_a_finds_words_are_no_markup() -> None:
    odd = hunted(1, 4, 1, f"{HOSTILE}@2c3s17t31p", reason=HOSTILE, outcome="failed", console=("```", HOSTILE))
    text = opened(by(odd)).body
    html = MarkdownIt("commonmark").render(text.rpartition("<!--")[0])
    outside = "".join(part.partition("</code>")[2] for part in html.split("<code"))
    assert "everyone" not in outside and "<img" not in html
    assert text.count("<!--") == 1


def test_a_creep_is_an_issue_until_it_is_undone() -> None:
    metric, old, new = Metric("app.nginx.most.p50", "ms"), version("a"), version("b")
    night = results.Night(planned(OF_OSV), good("a"))
    crept = Since(metric, OF_OSV, "nginx", old, new, 1.0, 1.2, 0.2, (0.15, 0.25), 0, 0.0)
    samples = [replace(sample(metric, OF_OSV), subject="nginx")]
    now = failure_groups.failure_groups(night, [], samples, (), [crept, replace(crept, change=-0.2)])
    action = opened(now)
    assert action.title.startswith(f"app.nginx.most.p50 crept on {OF_OSV} since")
    assert "no single step" in action.body
    assert verbs(now, as_told(action)) == []
    assert verbs(failure_groups.failure_groups(night, [], samples), as_told(action)) == [("close", 7)]


def test_failures_of_one_cause_share_an_issue() -> None:
    crashes = [case(test, "crashed", f"page fault at {addr}") for test, addr in (("a", "0x10"), ("b", "0x2f"))]
    rest = good("c", "d", "e", "f")
    assert len(seen([*crashes, *rest]).groups) == 1
    assert len(seen([case("a"), case("b"), *rest]).groups) == 2
    oops = "oops: [{:12.6f}] BUG: unable to handle page fault for address: {:016x}{}"
    told = [(3.5, 0x10, ""), (12345.25, 0xFFFF888100A0, ", while the host asked it to end")]
    torn = "abort: Assertion failed: %s (%s: %s: %d)"
    alike = [case(test, "crashed", oops.format(*one)) for test, one in zip("ab", told, strict=True)]
    (one,) = seen([*alike, *rest]).groups
    assert one.title.startswith("BUG: unable to handle page fault for address: N: a, b crashed")
    assert len(seen([case("a", "crashed", torn), case("b", "crashed", torn), *rest]).groups) == 2
    assert len(seen([case("a", "crashed", torn), case("a", "crashed", torn, ALSO_OF_OSV), *rest]).groups) == 1
    broken = seen([case(test, "boot_failed") for test in "abcdef"])
    assert [one.members for one in broken.groups] == [frozenset({failure_groups.key("cell", OF_OSV)})]
    silent = seen(good("a"), OF_OSV, ALSO_OF_OSV)
    assert ["no result" in one.title for one in silent.groups] == [True]
    assert verbs(seen(good("a")), as_told(opened(broken))) == [("close", 7)]


def test_a_night_that_breaks_everything_opens_ten_issues() -> None:
    wanted, left_out = issues.actions(
        seen([case(f"t{at}") for at in range(13)] + good(*map(str, range(40)))), [], RUN
    )
    assert (len(wanted), left_out) == (issues.MOST_NEW, 3)


def test_only_our_own_issues_are_touched() -> None:
    action = opened(seen([case("a"), *good("b")]))
    now = seen(good("a"))
    assert verbs(now, as_told(action, labels=[])) == []
    assert verbs(now, as_told(action, body="<!-- osv-harness cause=zz members=--> -->")) == []
    with pytest.raises(HarnessError, match="no list of issues"):
        issues.parse_issues([{"number": 1}])


HOSTILE = "`x` @everyone #1 $(rm -rf /) --> | <img src=x> \u202e\x1b[2J https://evil.example ](x)"


def test_a_guests_words_are_no_markup_and_no_mark() -> None:
    action = opened(seen([case("tst-a.so", "failed", HOSTILE), *good("b")]))
    text = action.body
    assert text.count("<!--") == text.count("osv-harness cause=") == 1
    told = next(line for line in text.splitlines() if "everyone" in line)
    inside = told.split("`")[1::2]
    assert any("@everyone" in span for span in inside)
    assert "everyone" not in "".join(told.split("`")[0::2])
    odd = opened(seen([case(HOSTILE), *good("b")]))
    assert not set(odd.title) & set("`@#$|!&*[]~\x1b\u202e\n")


def step(old: float, new: float, cell: str = OF_OSV, after: str = "b") -> Finding:
    change = (new - old) / old
    return Finding(METRIC, cell, "", version("a"), version(after), old, new, change, (change, change), 0.0, (1, 1))


def test_what_became_worse_is_one_issue_a_commit_until_it_came_back() -> None:
    worse = [step(100, 110), step(100, 120, ALSO_OF_OSV)]
    now = seen(good("a"), worse=worse)
    assert len(now.groups) == 1
    assert "+10%" in now.groups[0].title or "+20%" in now.groups[0].title
    there = as_told(opened(now))
    assert verbs(now, there) == []
    assert verbs(seen(good("a"), worse=[*worse, step(110, 101), step(120, 100, ALSO_OF_OSV)]), there) == [
        ("close", 7)
    ]
    assert verbs(seen(good("a"), worse=[*worse, step(110, 108)]), there) == []
    assert verbs(seen(good("a")), there) == []  # nothing was measured: nothing is known
    assert len(seen(good("a"), worse=[step(100, 110), step(110, 130, after="c")]).groups) == 2
    assert seen(good("a"), worse=[step(100, 90)]).groups == []


@pytest.mark.parametrize("commits", ["bc", "cb"])
def test_two_steps_of_one_number_keep_an_issue_each(commits: str) -> None:
    """Whichever commit sorts first: the second step takes not the first one's, which would open again."""
    one, other = commits
    first = [step(100, 110, after=one), step(100, 112, ALSO_OF_OSV, after=one)]
    there = as_told(opened(seen(good("a"), worse=first)))
    both = seen(good("a"), worse=[*first, step(110, 130, after=other)])
    wanted, _ = issues.actions(both, issues.parse_issues([there]), RUN)
    assert [(action.verb, action.number) for action in wanted] == [("open", 0)]
    assert "+18.2%" in wanted[0].title
    assert verbs(both, there, as_told(wanted[0], 8)) == []


PART = Metric("boot.instructions.drivers", "instructions", exact=True)


def test_an_unrelated_improvement_closes_nothing() -> None:
    """Another change that makes up for a regression, of another size or in another phase, leaves its issue open;
    what brings the level back closes it."""
    worse = [step(100, 110)]
    there = as_told(opened(seen(good("a"), worse=worse)))
    assert verbs(seen(good("a"), worse=[*worse, step(110, 80, after="c")]), there) == []
    assert verbs(seen(good("a"), worse=[*worse, step(110, 106, after="c")]), there) == []
    same_size = [*worse, step(110, 100, after="c")]
    assert verbs(seen(good("a"), worse=same_size), there) == [("close", 7)]
    slow = replace(step(20, 30), metric=PART)
    other = replace(step(50, 40, after="c"), metric=Metric("boot.instructions.mount", "instructions", exact=True))
    assert verbs(seen(good("a"), worse=same_size, parts=[slow, other]), there) == []
    undone = replace(step(30, 20, after="c"), metric=PART)
    assert verbs(seen(good("a"), worse=same_size, parts=[slow, undone]), there) == [("close", 7)]


def test_an_issue_says_commit_range_command_and_console(tmp_path: Path) -> None:
    """Between which versions, by whom, how to see it again, the last lines; all of it is code."""
    def git(*words: str) -> str:
        who = ["-c", "user.name=@everyone", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    commits = []
    for number in range(3):
        git("commit", "-q", "--allow-empty", "-m", f"subject {number} <b>`@x`")
        commits.append(git("rev-parse", "HEAD"))
    versions = [Version(commits[min(night, 2)], "", f"v{night}", 1.0 + night) for night in range(4)]
    judged = [
        VerdictRecord("unit", OF_OSV, "a", "failed" if night > 1 else "passed", night < 2, "x", 1.0, about, HERE,
                      "r", 1e9 + night * 86400, f"{night}") for night, about in enumerate(versions)
    ]  # fmt: skip
    bad = replace(case("a"), console=("[backtrace]", "```", "0x40 <main+4>", HOSTILE))
    night = results.Night(planned(OF_OSV), [bad, *good("b", "c")])
    (cause,) = failure_groups.failure_groups(night, [], [], judged, commits=Commits(tmp_path)).groups
    text = "\n".join(cause.lines)
    assert "Good at `v1`, bad at `v2`." in text
    assert "`subject 2" in text and "subject 1" not in text
    assert f"osv-harness bisect --cell {OF_OSV} --test a --good {commits[1][:12]} --bad {commits[2][:12]}" in text
    assert "0x40 <main+4>" in text
    html = MarkdownIt("commonmark").render(text)
    outside = "".join(part.partition("</code>")[2] for part in html.split("<code"))
    assert "everyone" not in outside
    assert "<b>" not in html and "<img" not in html


def test_over_sixty_nights_a_regression_is_one_issue_until_it_is_undone() -> None:
    """A step at 20, an improvement elsewhere at 30, its revert at 50: one opens, none closes while it stands."""
    steps = [(20, step(100, 110)), (30, step(110, 90, after="c")), (50, step(90, 84, after="d"))]
    undo = (55, step(84, 74, after="e"))
    for last, closes in ((60, 0), (54, 0)):
        known: list[dict[str, Any]] = []
        done: list[str] = []
        for night in range(last):
            rows = [one for at, one in steps if at <= night]
            for action in issues.actions(seen(good("a"), worse=rows), issues.parse_issues(known), RUN)[0]:
                done.append(action.verb)
                known += [as_told(action)] if action.verb == "open" else []
        assert (done.count("open"), done.count("close")) == (1, closes)
    rows = [one for _, one in (*steps, undo)]
    assert ("close", 7) in verbs(seen(good("a"), worse=rows), *known)


GH = """#!/bin/sh
printf '%s\\n' "$#" "$@" >> "$GH_LOG"
cat >> "$GH_LOG"
"""


def test_actions_reach_gh_as_arguments_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.integrations.ci import gh_cli

    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    log = tmp_path / "log"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("GH_LOG", str(log))
    for verb, calls in (("open", 1), ("update", 1), ("reopen", 3), ("close", 2)):
        log.write_text("")
        gh_cli.perform(Action(verb, 5, "$(touch /tmp/x) `y`", "the body\n", "the comment\n"))
        said = log.read_text()
        assert said.count("issue\n") == calls
        assert ("$(touch /tmp/x) `y`\n" in said) == (verb != "close")
        assert ("the body\n" in said) == (verb != "close")
    (tmp_path / "gh").write_text("#!/bin/sh\necho 'HTTP 403' >&2; exit 1\n")
    with pytest.raises(HarnessError, match="HTTP 403"):
        gh_cli.perform(Action("close", 5, "t"))


def recorded(cases: Iterable[results.Case], night: int) -> list[VerdictRecord]:
    """The verdicts of a night, as the history keeps them."""
    return [
        VerdictRecord("unit", one.cell, one.test, one.outcome, not one.bad, one.reason, 1.0, version("a"), HERE,
                      "r", 1e9 + night * 86400, f"{night}{one.test}") for one in cases
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("kind", "opens", "closes"), [("flaky", 1, 0), ("broken", 1, 1), ("once", 0, 0)])
def test_over_sixty_nights_no_issue_opens_twice_or_closes_early(
    kind: str, opens: int, closes: int, seed: int
) -> None:
    """A test that fails at 17% from night 20 on; one that is broken from 20 to 40; one that fails once."""
    chance = Random(seed)
    judged: list[VerdictRecord] = []
    known: list[dict[str, Any]] = []
    done: list[str] = []
    for night in range(60):
        flaky = night >= 20 and chance.random() < 0.17
        bad = {"flaky": flaky, "broken": 20 <= night < 40, "once": night == 20}[kind]
        tonight = [case("tst-a.so") if bad else case("tst-a.so", "passed"), *good("b", "c", "d", "e")]
        judged += recorded(tonight, night)
        now = failure_groups.failure_groups(results.Night(planned(OF_OSV), tonight), [], [], judged)
        for action in issues.actions(now, issues.parse_issues(known), RUN)[0]:
            done.append(action.verb)
            if action.verb == "open":
                known.append(as_told(action))
            elif action.verb == "close":
                known[0] |= {"state": "CLOSED", "stateReason": "COMPLETED"}
    assert (done.count("open"), done.count("close"), done.count("reopen")) == (opens, closes, 0)


@pytest.mark.parametrize(
    ("nights", "opens"),
    [
        ({20: "harness_error"}, 0), ({20: "harness_error", 21: "harness_error"}, 1),
        ({**dict.fromkeys(range(5, 15), "failed"), 40: "failed"}, 1),
        ({**dict.fromkeys(range(5, 15), "failed"), 40: "failed", 41: "failed"}, 2),
    ],
    ids=["a fault of one night", "a fault of two", "an accident after a fix", "broken again"],
)  # fmt: skip
def test_one_night_is_not_enough(nights: Mapping[int, str], opens: int) -> None:
    """Neither of a fault of the host, nor of a test that had been broken and was fixed: it is no new issue, and
    the old one stays closed."""
    judged: list[VerdictRecord] = []
    known: list[dict[str, Any]] = []
    done: list[str] = []
    for night in range(60):
        tonight = [case("tst-a.so", nights.get(night, "passed")), *good("b", "c", "d", "e")]
        judged += recorded(tonight, night)
        now = failure_groups.failure_groups(results.Night(planned(OF_OSV), tonight), [], [], judged)
        for action in issues.actions(now, issues.parse_issues(known), RUN)[0]:
            done.append(action.verb)
            if action.verb == "open":
                known.append(as_told(action))
            else:
                closed = action.verb == "close"
                known[0] |= {"state": "CLOSED" if closed else "OPEN", "stateReason": "COMPLETED" if closed else ""}
    assert done.count("open") + done.count("reopen") == opens
