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


def _still_applies(record: Triage, failure: Failure | None) -> bool:
    """Whether the acknowledgement is for the present failure, and not for an earlier one that was gone since."""
    return failure is None or (record.identity == failure.identity and record.taken >= failure.began)


def decision(record: Triage) -> Decision:
    """One decision, with texts that are safe to show."""
    return Decision(
        id=record.id, action=record.action, subject=safe_text(record.subject),
        identity=safe_text(record.identity, 2000),
        author=safe_text(record.author), note=safe_text(record.note, LONGEST_NOTE), assignee=_assignee(record),
        taken=record.taken,
    )  # fmt: skip


def jobs_of(rows: Sequence[Triage], is_running: Callable[[str], bool]) -> list[Job]:
    """The reruns and bisections among the decisions, with their states."""
    ended = {str(one.body.get("job")): one for one in rows if one.action is Action.ENDED}
    found = []
    for record in rows:
        if record.action not in WORK:
            continue
        end = ended.get(record.id)
        status = end.body.get("status") if end else None
        found.append(
            Job(
                id=record.id, action=record.action, subject=safe_text(record.subject),
                cell=safe_text(str(record.body.get("cell", ""))), author=safe_text(record.author),
                taken=record.taken,
                state="ended" if end else "running" if is_running(record.id) else "waiting",
                status=status if isinstance(status, int) else None,
                said="\n".join(safe_text(line, LONGEST_NOTE) for line in end.note.splitlines()) if end else "",
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
    record = Triage(
        Action(request.action), request.subject, known[request.subject], user, request.note, body, time(),
        request.id or uuid4().hex,
    )  # fmt: skip
    return store_decision(history, record)


def store_decision(history: History, record: Triage) -> Triage:
    """Add it, or return the one that was sent before with the same id. Raises `Refused` if that is another."""
    there = next((other for other in history.triage() if other.id == record.id), None)
    if there is None:
        history.add([record])
        return record
    if _content(there) != _content(record):
        raise Refused(409, "Another decision has that id.", "Send an id of its own, or none.")
    return there


def unknown_subject() -> Refused:
    """The problem of a subject that is no fact of this morning."""
    detail = "It may be fixed since, or the page is an old one: look again. api/facts names all."
    return Refused(404, "That is not among the facts of the morning.", detail)


def _content(record: Triage) -> tuple[object, ...]:
    return record.action, record.subject, record.author, record.note, dict(record.body)


def _assignee(record: Triage) -> str:
    return safe_text(str(record.body.get("assignee", "")))
