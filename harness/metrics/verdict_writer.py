"""Writes verdicts into the history: they are made where a guest ran, and written in the background by one process.

The history's libraries take seconds to import, so the writer's thread does it while guests run.
"""

import threading
import time
from queue import SimpleQueue

from harness.core.errors import HarnessError
from harness.core.machine import Image
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import CONSOLE, Document
from harness.metrics.sampler import Sampler
from harness.runner.base import Run
from harness.runner.session import Session
from harness.runner.verdict import Outcome

CONSOLE_LINES, CONSOLE_COLUMNS = 20, 200
"""How much of a console the history keeps; the evidence has all of it."""

Record = VerdictRecord | Document


def console_of(judged: VerdictRecord, run: Run) -> Document | None:
    """The end of the console of an unexpected failure, or None without lines. Its id is `VERDICT-console`."""
    if judged.expected or run.verdict.outcome is Outcome.PASSED:
        return None
    texts = (line.text[:CONSOLE_COLUMNS] for line in run.transcript.tail(CONSOLE_LINES))
    lines = [text for text in texts if text.strip()]
    if not lines:
        return None
    return Document(
        CONSOLE, judged.cell, judged.test, {"lines": lines}, judged.version, judged.run, judged.taken,
        f"{judged.id}-{CONSOLE}",
    )  # fmt: skip


class Verdicts:
    """Makes records of verdicts. What a kernel's version needs is computed once per image."""

    def __init__(self, session: Session, run: str) -> None:
        self._session = session
        self._run = run
        self._samplers: dict[str, Sampler] = {}

    def of(self, image: Image, run: Run, expected: bool, reuse_key: str = "") -> list[Record]:
        """The records of a run: its verdict, and the end of its console if it failed unexpectedly.

        `expected` is whether the verdict was expected; under the `reuse_key` it may be reused.
        """
        sampler, verdict = self._sampler(image), run.verdict
        judged = VerdictRecord(
            "apps" if run.program.forwards else "unit", str(image.cell), run.program.name, str(verdict.outcome),
            expected, verdict.reason, verdict.observation.seconds, sampler.version, sampler.environment, self._run,
            time.time(), reuse_key=reuse_key,
        )  # fmt: skip
        console = console_of(judged, run)
        return [judged, console] if console else [judged]

    def reused(self, image: Image, test: str, reason: str) -> VerdictRecord:
        """The record of an in-guest test that was not run, for the earlier verdict that `reason` names."""
        sampler = self._sampler(image)
        return VerdictRecord(
            "unit", str(image.cell), test, str(Outcome.REUSED), True, reason, 0.0, sampler.version,
            sampler.environment, self._run, time.time(),
        )  # fmt: skip

    def _sampler(self, image: Image) -> Sampler:
        key = f"{image.digest} {image.cell}"
        if key not in self._samplers:
            self._samplers[key] = Sampler(self._session, image, self._run)
        return self._samplers[key]


class Writer:
    """Adds records to a history in a thread; records that queued up meanwhile are written together."""

    def __init__(self, url: str | None = None) -> None:
        """`url` as `History` takes it. The thread starts with the first record."""
        self._url = url
        self._queue: SimpleQueue[Record | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failed = ""

    def add(self, record: Record) -> None:
        """Queue a record; returns at once."""
        self.start()
        self._queue.put(record)

    def start(self) -> None:
        """Open the history before the first record comes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()

    def finish(self) -> str:
        """Wait until everything is on disk; returns why it is not, or an empty text."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()
        return self._failed

    def _write(self) -> None:
        try:
            # Imported here: it takes seconds.
            from harness.metrics.history.store import History

            more = True
            with History(self._url) as history:
                while more:
                    records = [self._queue.get()]
                    while not self._queue.empty():
                        records.append(self._queue.get())
                    more = None not in records
                    history.add(record for record in records if record)
        except HarnessError as error:
            self._failed = str(error)
        except Exception as error:
            # Verdicts are shown without a history too: its errors must not hide them.
            self._failed = f"The history could not be written: {type(error).__name__}: {error}"
