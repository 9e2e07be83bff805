"""One issue for one cause: what is to be opened, updated, reopened or closed, given what there is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.integrations.ci.failure_groups import FailureGroup, Seen

LABEL = "osv-harness"
"""Only who may write to the repository can give an issue a label: what has none is not ours, whatever it says."""

MARK = re.compile(r"<!-- osv-harness cause=([0-9a-f]{12}) members=([0-9a-f]{12}(?:,[0-9a-f]{12})*) -->")
MOST_NEW = 10
"""Issues that one night may open: what breaks everything is read in the summary."""

MOST_MEMBERS = 2000  # of 13 characters each; a body may have 65,536


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue of ours: `accepted` is whether a person closed it as not planned."""

    number: int
    title: str
    body: str
    open: bool
    accepted: bool
    cause: str
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Action:
    """`verb` is `open`, `update`, `reopen` or `close`; `number` is 0 for what is to be opened; `comment` may be
    nothing."""

    verb: str
    number: int
    title: str
    body: str = ""
    comment: str = ""


def ours(rows: Iterable[Mapping[str, Any]]) -> list[Issue]:
    """The issues with our label and our mark, among those that `gh issue list --json` told.

    Raises `HarnessError` where a row has not what was asked of it.
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


def actions(seen: Seen, issues: Sequence[Issue], run: str) -> tuple[list[Action], int]:
    """What is to be done, and how many causes more wait for another night. `run` is where tonight's results are.

    Done once, it leaves nothing to do: an issue that says what is so stays as it is.
    """
    wanted: list[Action] = []
    taken: set[int] = set()
    left_out = opened = 0
    for cause in seen.causes:
        issue = _issue_of(cause, issues, taken)
        if issue is None and opened < MOST_NEW:
            opened += 1
            wanted.append(Action("open", 0, cause.title, body(cause, run)))
        elif issue is None:
            left_out += 1
        else:
            taken.add(issue.number)
            wanted += _kept(cause, issue, run)
    for issue in issues:
        if issue.open and issue.number not in taken and issue.members <= seen.gone:
            wanted.append(Action("close", issue.number, issue.title, comment=f"Gone: seen to be well in {run}."))
    return wanted, left_out


def body(cause: FailureGroup, run: str) -> str:
    """The issue's text, with the mark by which it is known again."""
    members = ",".join(_marked(cause))
    lines = [
        *cause.lines,
        "",
        f"Seen first in, or changed since: {run}",
        "",
        "It is closed when all of this was seen to be well. Close it as *not planned* to have it left alone.",
        "",
        f"<!-- osv-harness cause={cause.id} members={members} -->",
    ]
    return "\n".join(lines) + "\n"


def _marked(cause: FailureGroup) -> list[str]:
    return sorted(cause.members)[:MOST_MEMBERS]


def _issue_of(cause: FailureGroup, issues: Sequence[Issue], taken: set[int]) -> Issue | None:
    """The issue of the cause, or one that stands for some of the same failures; open ones first."""
    free = [issue for issue in issues if issue.number not in taken]
    same = [issue for issue in free if issue.cause == cause.id and (issue.open or issue.members & cause.members)]
    kin = [issue for issue in free if issue.open and issue.members & cause.members]
    return next(iter([*same, *kin]), None)


def _kept(cause: FailureGroup, issue: Issue, run: str) -> list[Action]:
    """What is to be done with the issue of a cause that stands."""
    changed = issue.members != frozenset(_marked(cause)) or issue.cause != cause.id
    if issue.accepted:
        return []
    if not issue.open:
        comment = f"It is back, or never went away: {run}"
        return [Action("reopen", issue.number, cause.title, body(cause, run), comment)]
    if changed:
        return [Action("update", issue.number, cause.title, body(cause, run))]
    return []
