"""Stores results: records in one history, each once; evidence in the folder of the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from harness.core.events import publish
from harness.integrations.farm.messages import TaskResult, WorkItem
from harness.metrics.history.jsonl import records_in
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.history.validation import Record
from harness.metrics.records import Document, Sample
from harness.report.evidence import UNSAFE


class ResultSink:
    """Stores the results of one run. `known` are the ids that the history has: nothing is stored twice, and what
    another session of the same run brought need not run again."""

    def __init__(self, history: History, run: str, runs: Path) -> None:
        self._history = history
        self._runs = runs
        before: Sequence[Sample | VerdictRecord | Document] = [
            *history.judged(run=run), *history.samples(run=run), *history.documents(run=run)
        ]  # fmt: skip
        self.known = {record.id for record in before}
        self.outcomes: Counter[WorkItem] = Counter()
        self.samples: Counter[str] = Counter()
        self.workers: Counter[str] = Counter()
        self.unexpected: list[VerdictRecord] = []
        for record in before:
            self._count(record)

    def store(self, answer: TaskResult) -> None:
        """Store what is new in a result. Raises `HarnessError` if a line is no record, or can't be stored."""
        fresh = [record for record in records_in(BytesIO(answer.lines)) if record.id not in self.known]
        self._history.add(fresh)
        for record in fresh:
            self.known.add(record.id)
            self.workers[f"{answer.worker} on {answer.host}"] += 1
            self._count(record)
        for (cell, test), files in answer.evidence.items():
            _keep(self._runs / _safe(cell.replace(":", "-")) / _safe(test), files)

    def _count(self, record: Record) -> None:
        if isinstance(record, VerdictRecord):
            self.outcomes[record.cell, record.outcome] += 1
            if not record.expected:
                self.unexpected.append(record)
        elif isinstance(record, Sample):
            self.samples[record.cell] += 1


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files of evidence. Lost evidence is reported, and changes no verdict."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / _safe(name)).write_bytes(content)
    except OSError as error:
        publish("farm.evidence_lost", str(folder), error.strerror or "")


def _safe(name: str) -> str:
    """A file name from a worker, made safe: it can't leave the folder."""
    return UNSAFE.sub("_", name).lstrip(".") or "_"
