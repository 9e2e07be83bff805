"""What people decided about the facts of the morning, from all decisions in a history."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from time import time
from uuid import uuid4

from harness.integrations.server.models import Decision, DecisionRequest, Facts, Failure, Job, SubjectStatus
from harness.integrations.server.models import Triage as TriageModel
from harness.integrations.server.problems import Refused
from harness.metrics.history.records import Action, Triage
from harness.metrics.history.store import History
from harness.report.model.data import safe_text

MOST_LOG = 50
LONGEST_NOTE = 4000
WORK = (Action.RERUN, Action.BISECT)


def triage_status(
    decisions: Iterable[Triage], facts: Facts | None, is_running: Callable[[str], bool]
) -> TriageModel:
    """The status of each subject. `is_running` says whether the job with that id is running."""
    failures = {one.subject: one for one in facts.failures} if facts else {}
    by_subject: dict[str, list[Triage]] = defaultdict(list)
    for one in decisions:
        by_subject[one.subject].append(one)
    return TriageModel(
        standings=[
            _subject_status(subject, rows, failures.get(subject), is_running)
            for subject, rows in by_subject.items()
        ]
    )


def _subject_status(
    subject: str, rows: Sequence[Triage], failure: Failure | None, is_running: Callable[[str], bool]
) -> SubjectStatus:
    acknowledgements = [one for one in rows if one.action in (Action.ACKNOWLEDGE, Action.REOPEN)]
    last = acknowledgements[-1] if acknowledgements else None
    current = last if last and last.action is Action.ACKNOWLEDGE and _still_applies(last, failure) else None
    assignments = [one for one in rows if one.action is Action.ASSIGN]
    return SubjectStatus(
        subject=safe_text(subject),
        acknowledged=decision(current) if current else None,
        assignee=_assignee(assignments[-1]) if assignments else "",
        log=[decision(one) for one in rows[-MOST_LOG:]],
        jobs=jobs_of(rows, is_running),
    )


def _still_applies(one: Triage, failure: Failure | None) -> bool:
    """Whether the acknowledgement is for the present failure, and not for an earlier one that was gone since."""
    return failure is None or (one.identity == failure.identity and one.taken >= failure.began)


def decision(one: Triage) -> Decision:
    """One decision, with texts that are safe to show."""
    return Decision(
        id=one.id, action=one.action, subject=safe_text(one.subject), identity=safe_text(one.identity, 2000),
        author=safe_text(one.author), note=safe_text(one.note, LONGEST_NOTE), assignee=_assignee(one),
        taken=one.taken,
    )  # fmt: skip


def jobs_of(rows: Sequence[Triage], is_running: Callable[[str], bool]) -> list[Job]:
    """The reruns and bisections among the decisions, with their states."""
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


def decide(history: History, facts: Facts, request: DecisionRequest, user: str) -> Triage:
    """Store a decision; the same one is stored once. Raises `Refused` for an impossible one.

    When it returns, the decision is on disk. A server that is killed earlier has stored nothing of it.
    """
    known = {one.subject: one.identity for one in facts.failures}
    known |= dict.fromkeys([*(one.subject for one in facts.steps), *(one.subject for one in facts.missing)], "")
    if request.subject not in known:
        raise unknown_subject()
    if request.action == "acknowledge" and request.identity != known[request.subject]:
        raise Refused(
            409, "It fails otherwise by now.", f"Look again; api/facts says: {known[request.subject]}"
        )  # fmt: skip
    body = {"assignee": request.assignee} if request.action == "assign" else {}
    one = Triage(
        Action(request.action), request.subject, known[request.subject], user, request.note, body, time(),
        request.id or uuid4().hex,
    )  # fmt: skip
    return store_decision(history, one)


def store_decision(history: History, one: Triage) -> Triage:
    """Add it, or return the one that was sent before with the same id. Raises `Refused` if that is another."""
    there = next((other for other in history.triage() if other.id == one.id), None)
    if there is None:
        history.add([one])
        return one
    if _content(there) != _content(one):
        raise Refused(409, "Another decision has that id.", "Send an id of its own, or none.")
    return there


def unknown_subject() -> Refused:
    """The problem of a subject that is no fact of this morning."""
    detail = "It may be fixed since, or the page is an old one: look again. api/facts names all."
    return Refused(404, "That is not among the facts of the morning.", detail)


def _content(one: Triage) -> tuple[object, ...]:
    return one.action, one.subject, one.author, one.note, dict(one.body)


def _assignee(one: Triage) -> str:
    return safe_text(str(one.body.get("assignee", "")))
