"""What people decided about the facts of the morning, from all decisions that a history has."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from time import time
from uuid import uuid4

from harness.integrations.server.models import Decide, Decision, Facts, Failure, Job, Standing
from harness.integrations.server.models import Triage as Standings
from harness.integrations.server.problems import Refused
from harness.metrics.history.records import Action, Triage
from harness.metrics.history.store import History
from harness.report.model.data import safe_text

MOST_LOG = 50
LONGEST_NOTE = 4000
WORK = (Action.RERUN, Action.BISECT)


def standings(
    decisions: Iterable[Triage], facts: Facts | None, is_running: Callable[[str], bool]
) -> Standings:
    """Where each subject stands; `is_running` says whether the work of that id is being done now."""
    failures = {one.subject: one for one in facts.failures} if facts else {}
    by_subject: dict[str, list[Triage]] = defaultdict(list)
    for one in decisions:
        by_subject[one.subject].append(one)
    return Standings(
        standings=[
            _standing(subject, rows, failures.get(subject), is_running) for subject, rows in by_subject.items()
        ]
    )


def _standing(
    subject: str, rows: Sequence[Triage], failure: Failure | None, is_running: Callable[[str], bool]
) -> Standing:
    said = [one for one in rows if one.action in (Action.ACKNOWLEDGE, Action.REOPEN)]
    held = said[-1] if said and said[-1].action is Action.ACKNOWLEDGE and _holds(said[-1], failure) else None
    given = [one for one in rows if one.action is Action.ASSIGN]
    return Standing(
        subject=safe_text(subject), acknowledged=decision(held) if held else None, jobs=jobs_of(rows, is_running),
        assignee=_assignee(given[-1]) if given else "", log=[decision(one) for one in rows[-MOST_LOG:]],
    )  # fmt: skip


def _holds(one: Triage, failure: Failure | None) -> bool:
    """Whether the acknowledgement is of what fails now: not of what failed before, and was gone since."""
    return failure is None or (one.identity == failure.identity and one.taken >= failure.began)


def decision(one: Triage) -> Decision:
    """One of them, each text safe to show."""
    return Decision(
        id=one.id, action=one.action, subject=safe_text(one.subject), identity=safe_text(one.identity, 2000),
        author=safe_text(one.author), note=safe_text(one.note, LONGEST_NOTE), assignee=_assignee(one),
        taken=one.taken,
    )  # fmt: skip


def jobs_of(rows: Sequence[Triage], is_running: Callable[[str], bool]) -> list[Job]:
    """The reruns and bisections among the decisions, as far as they have come."""
    ended = {str(one.body.get("job")): one for one in rows if one.action is Action.ENDED}
    found = []
    for one in rows:
        if one.action not in WORK:
            continue
        end = ended.get(one.id)
        status = end.body.get("status") if end else None
        found.append(
            Job(
                id=one.id, action=one.action, subject=safe_text(one.subject),
                cell=safe_text(str(one.body.get("cell", ""))), author=safe_text(one.author), taken=one.taken,
                state="ended" if end else "running" if is_running(one.id) else "waiting",
                status=status if isinstance(status, int) else None,
                said=safe_text(end.note, LONGEST_NOTE) if end else "",
            )
        )  # fmt: skip
    return found


def decide(history: History, facts: Facts, wanted: Decide, user: str) -> Triage:
    """Keep a decision; the same one is kept once. Raises `Refused` for one that can't be made.

    On return it is on the disk: whoever is killed before has kept nothing of it.
    """
    known = {one.subject: one.identity for one in facts.failures}
    known |= dict.fromkeys([*(one.subject for one in facts.steps), *(one.subject for one in facts.missing)], "")
    if wanted.subject not in known:
        raise unknown_subject()
    if wanted.action == "acknowledge" and wanted.identity != known[wanted.subject]:
        raise Refused(
            409, "It fails otherwise by now.", f"Look again; api/facts says: {known[wanted.subject]}"
        )  # fmt: skip
    body = {"assignee": wanted.assignee} if wanted.action == "assign" else {}
    one = Triage(
        Action(wanted.action), wanted.subject, known[wanted.subject], user, wanted.note, body, time(),
        wanted.id or uuid4().hex,
    )  # fmt: skip
    return kept(history, one)


def kept(history: History, one: Triage) -> Triage:
    """Add it, or give the one that was sent before with the same id. Raises `Refused` if that is another."""
    there = next((other for other in history.triage() if other.id == one.id), None)
    if there is None:
        history.add([one])
        return one
    if _said(there) != _said(one):
        raise Refused(409, "Another decision has that id.", "Send an id of its own, or none.")
    return there


def unknown_subject() -> Refused:
    """Of what is no fact of this morning."""
    said = "It may be fixed since, or the page is an old one: look again. api/facts names all."
    return Refused(404, "That is not among the facts of the morning.", said)


def _said(one: Triage) -> tuple[object, ...]:
    return one.action, one.subject, one.author, one.note, dict(one.body)


def _assignee(one: Triage) -> str:
    return safe_text(str(one.body.get("assignee", "")))
