"""What an issue says about a failure or a step: the range, its commits, commands to reproduce it, the last console
lines."""

import re
from collections.abc import Sequence

from harness.analysis.regression.finding import Finding
from harness.integrations.ci.results import Case
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Version
from harness.report.markdown import code
from harness.report.model.formatting import version_name
from harness.report.morning.commits import Commits
from harness.report.morning.rates import failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

MOST_SUSPECTS, MOST_SEEDS = 5, 3
FENCE = "`"


def about_test(cases: Sequence[Case], judged: Sequence[VerdictRecord], commits: Commits) -> list[str]:
    """Details of a failed test on one or more cells, as Markdown without a guest's markup."""
    first = cases[0]
    lines = []
    since = _since(first, judged)
    if since:
        good, bad = since
        lines += ["", f"Good at {code(version_name(good))}, bad at {code(version_name(bad))}."]
        lines += _suspects(good, bad, commits)
    again = [f"osv-harness replay {case.seed}" for case in cases if case.seed][:MOST_SEEDS]
    again += [f"osv-harness test {first.cell} {first.test}"]
    if since:
        words = f"--test {first.test} --good {since[0].commit[:12]} --bad {since[1].commit[:12]}"
        again.append(f"osv-harness bisect --cell {first.cell} {words}")
    lines += _commands(again)
    return lines + (["", "The end of its console:", *fenced(first.console)] if first.console else [])


def by_seed(case: Case) -> str:
    """By which seed a hunt found the failure, as Markdown; empty if no hunt did. Of another build it is another
    run."""
    return f", by the seed {code(case.seed)} at {code(case.found_at)}" if case.seed else ""


def about_step(findings: Sequence[Finding], commits: Commits) -> list[str]:
    """Details of one step: its commits, and the command that bisects it."""
    first = findings[0]
    good, bad = first.before, first.after
    words = f"--metric {first.metric.name} --good {good.commit[:12]} --bad {bad.commit[:12]}"
    return ["", *_suspects(good, bad, commits), *_commands([f"osv-harness bisect --cell {first.cell} {words}"])]


def fenced(lines: Sequence[str]) -> list[str]:
    """Lines as a block of code; the fence is longer than any run of backticks in them."""
    longest = max((len(run) for line in lines for run in re.findall(f"{FENCE}+", line)), default=0)
    fence = FENCE * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]


def _since(case: Case, judged: Sequence[VerdictRecord]) -> tuple[Version, Version] | None:
    """The last good version and the first bad one, if the change was clean and the versions differ."""
    of_test = [one for one in judged if (one.cell, one.test) == (case.cell, case.test)]
    rows = sorted((one for one in of_test if one.outcome not in INCONCLUSIVE), key=lambda one: one.taken)
    change = failure_pattern([failed(one) for one in rows])
    if not (rows and change.clean and 0 < change.began < len(rows)):
        return None
    good, bad = rows[change.began - 1].version, rows[change.began].version
    return (good, bad) if good.commit != bad.commit else None


def _suspects(good: Version, bad: Version, commits: Commits) -> list[str]:
    listed, count = commits.between(good.commit, bad.commit)
    lines = [f"- {code(one.short)} {code(one.subject)} by {code(one.author)}" for one in listed[:MOST_SUSPECTS]]
    return [*lines, *([f"- and {count - MOST_SUSPECTS} more commits"] if count > MOST_SUSPECTS else [])]


def _commands(lines: Sequence[str]) -> list[str]:
    return ["", "To see it again:", *fenced([code(line, 300).strip(FENCE) for line in lines])]
