"""Reused verdicts on a farm: whose client has the history decides, by the keys that the workers tell."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from io import BytesIO

from harness.integrations.farm.messages import CellRequest, TaskResult, TestList, WorkItem, verdict_id
from harness.integrations.reuse.plan import UNDECIDED, Standing
from harness.integrations.reuse.planning import standing_verdicts
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Document, Version
from harness.report.reuse_lines import REUSE
from harness.runner.expectations import is_expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome


class FarmReuse:
    """What one run on a farm reuses. `share` of it is checked; `differed` says how checks differ, by cell and
    test."""

    def __init__(self, session: Session, history: History, run: str, share: float) -> None:
        self._session = session
        self._history = history
        self._run = run
        self._share = share
        self._checks: dict[WorkItem, tuple[str, Standing]] = {}
        self._versions: dict[str, Version] = {}
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.differed: dict[str, dict[str, str]] = defaultdict(dict)

    def split(self, request: CellRequest, listed: TestList, names: Sequence[str]) -> tuple[list[str], TaskResult]:
        """The tests that are to run, and the records of those that are reused."""
        version, where = listed.version, listed.environment
        if version is None or where is None:
            return list(names), TaskResult(listed.worker)
        cell = self._session.cell(request.cell)
        keys = {(request.cell, name): listed.keys[name] for name in names if listed.keys.get(name)}

        def expected(about: WorkItem, outcome: Outcome) -> bool:
            return is_expected(cell, about[1], where.accelerator, outcome)

        found = standing_verdicts(self._history, keys, self._run, self._share, expected).standing
        reused = []
        for (_, name), standing in found.items():
            one = verdict_id(request, name)
            if standing.checked:
                self._checks[request.cell, name] = one, standing
            else:
                reused.append(
                    VerdictRecord(
                        "unit", request.cell, name, str(Outcome.REUSED), True, standing.words, 0.0, version, where,
                        self._run, time.time(), one,
                    )
                )  # fmt: skip
        self._versions[request.cell] = version
        self._counts[request.cell] += Counter(reused=len(reused), ran=len(names) - len(reused))
        done = {one.test for one in reused}
        lines = b"".join(map(line_of, reused))
        return [one for one in names if one not in done], TaskResult(listed.worker, lines=lines)

    def check(self, answer: TaskResult) -> None:
        """Compare verdicts with those that would have been reused."""
        for one in records_in(BytesIO(answer.lines)):
            if not isinstance(one, VerdictRecord) or (one.cell, one.test) not in self._checks:
                continue
            name, standing = self._checks[one.cell, one.test]
            if one.id == name and one.outcome not in UNDECIDED:
                self._counts[one.cell]["checked"] += 1
                if difference := standing.difference(one.outcome):
                    self.differed[one.cell][one.test] = difference

    def documents(self) -> list[Document]:
        """The counts of each cell, for the history."""
        found = []
        for cell, counts in self._counts.items():
            body: dict[str, object] = {name: counts[name] for name in ("ran", "reused", "checked")}
            body["differed"] = self.differed.get(cell, {})
            found.append(Document(REUSE, cell, "", body, self._versions[cell], self._run, time.time()))
        return found
