"""One issue per failure group: decides which issues to open, update, reopen or close."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.integrations.ci.failure_groups import FailureGroup, NightFailures

LABEL = "osv-harness"
"""Only who may write to the repository can label an issue: an issue without the label is not ours, whatever its
text."""

MARK = re.compile(r"<!-- osv-harness cause=([0-9a-f]{12}) members=([0-9a-f]{12}(?:,[0-9a-f]{12})*) -->")
MOST_NEW = 10
"""Issues that one night may open: if everything is broken, the summary says so."""

MOST_MEMBERS = 2000  # of 13 characters each; a body may have 65,536


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue of ours. `accepted` is whether a person closed it as not planned."""

    number: int
    title: str
    body: str
    open: bool
    accepted: bool
    group: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Action:
    """`verb` is `open`, `update`, `reopen` or `close`. `number` is 0 for an issue to open. `comment` may be
    empty."""

    verb: str
    number: int
    title: str
    body: str = ""
    comment: str = ""


def parse_issues(rows: Iterable[Mapping[str, Any]]) -> list[Issue]:
    """The issues with our label and our mark, from the output of `gh issue list --json`.

    Raises `HarnessError` if a row lacks a field.
    """
    found = []
    for row in rows:
        try:
            labels = {label["name"] for label in row["labels"]}
            mark = MARK.search(row["body"] or "")
            if LABEL in labels and mark:
                closed = row.get("state", "OPEN") == "CLOSED"
                accepted = closed and row.get("stateReason") == "NOT_PLANNED"
                members = frozenset(mark[2].split(","))
                found.append(
                    Issue(int(row["number"]), row["title"], row["body"], not closed, accepted, mark[1], members)
                )
        except (KeyError, TypeError, ValueError) as error:
            raise HarnessError(
                f"That is no list of issues: {error!r} of one is missing or wrong.",
                "Ask `gh issue list --state all --json number,title,body,state,stateReason,labels`.",
            ) from error
    return sorted(found, key=lambda issue: (not issue.open, -issue.number))


def actions(failures: NightFailures, issues: Sequence[Issue], run: str) -> tuple[list[Action], int]:
    """The actions to perform, and how many groups have to wait for another night. `run` is where tonight's results
    are.

    The result is idempotent: after the actions there is nothing left to do, and a correct issue stays as it is.
    """
    planned: list[Action] = []
    known = _issues_of(failures.groups, issues)
    left_out = opened = 0
    for group in failures.groups:
        issue = known.get(group.id)
        if issue is None and opened < MOST_NEW:
            opened += 1
            planned.append(Action("open", 0, group.title, body(group, run)))
        elif issue is None:
            left_out += 1
        else:
            planned += _actions_for(group, issue, run)
    matched = {issue.number for issue in known.values()}
    for issue in issues:
        if issue.open and issue.number not in matched and issue.members <= failures.recovered:
            planned.append(Action("close", issue.number, issue.title, comment=f"Gone: seen to be well in {run}."))
    return planned, left_out


def body(group: FailureGroup, run: str) -> str:
    """The issue's text, with the mark that identifies it."""
    members = ",".join(_marked(group))
    lines = [
        *group.lines,
        "",
        f"Seen first in, or changed since: {run}",
        "",
        "It is closed when all of this was seen to be well. Close it as *not planned* to have it left alone.",
        "",
        f"<!-- osv-harness cause={group.id} members={members} -->",
    ]
    return "\n".join(lines) + "\n"


def _marked(group: FailureGroup) -> list[str]:
    return sorted(group.members)[:MOST_MEMBERS]


def _issues_of(groups: Sequence[FailureGroup], issues: Sequence[Issue]) -> dict[str, Issue]:
    """The issue of each group that has one, by the group's id: its own, or else an open one that has some of the
    same failures and is no other group's own."""
    found: dict[str, Issue] = {}
    for own in (True, False):
        for group in groups:
            taken = {issue.number for issue in found.values()}
            if group.id not in found and (issue := _issue_of(group, issues, taken, own)):
                found[group.id] = issue
    return found


def _issue_of(group: FailureGroup, issues: Sequence[Issue], taken: Set[int], own: bool) -> Issue | None:
    """The group's own issue, or one that has some of the same failures; open ones first."""
    for issue in issues:
        alike = issue.members & group.members
        is_its = issue.group == group.id and (issue.open or alike) if own else issue.open and alike
        if is_its and issue.number not in taken:
            return issue
    return None


def _actions_for(group: FailureGroup, issue: Issue, run: str) -> list[Action]:
    """The actions for the issue of a group that still fails."""
    changed = issue.members != frozenset(_marked(group)) or issue.group != group.id
    if issue.accepted:
        return []
    if not issue.open:
        comment = f"It is back, or never went away: {run}"
        return [Action("reopen", issue.number, group.title, body(group, run), comment)]
    if changed:
        return [Action("update", issue.number, group.title, body(group, run))]
    return []
