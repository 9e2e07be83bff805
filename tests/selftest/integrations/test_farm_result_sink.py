"""What becomes of a farm's answers: a verdict lands once, evidence in the runs' folder, ids tell records apart."""

from dataclasses import replace
from pathlib import Path

from harness.integrations.farm.messages import CellRequest, TaskResult, measurement_id, verdict_id
from harness.integrations.farm.result_sink import ResultSink
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Environment, Version

ORDER = CellRequest("night", "linux:x86_64-qemu-ramfs-all", ())


def judged(seconds: float) -> VerdictRecord:
    version = Version("6.1", "0" * 64)
    where = Environment("host", "cpu", 2, "none", "tcg", "QEMU 7.2", "6.1")
    return VerdictRecord(
        "unit", ORDER.cell, "stress-ng-cache", "passed", True, "", seconds, version, where, ORDER.run,
        1e9 + seconds, verdict_id(ORDER, "stress-ng-cache"),
    )  # fmt: skip


def test_what_ran_twice_lands_once(tmp_path: Path) -> None:
    """A lost worker and the one that did its work again tell different seconds of one verdict."""
    with History(tmp_path / "history.sqlite") as history:
        sink = ResultSink(history, ORDER.run, tmp_path)
        sink.store(TaskResult("one", "here", line_of(judged(1.0))))
        sink.store(TaskResult("two", "here", line_of(judged(2.0))))
        resumed = ResultSink(history, ORDER.run, tmp_path)
        resumed.store(TaskResult("three", "here", line_of(judged(3.0))))
        assert history.judged(run=ORDER.run) == [judged(1.0)]
    assert sink.workers == {"one on here": 1}
    assert resumed.outcomes == {(ORDER.cell, "passed"): 1}


def test_evidence_lands_in_the_runs_folder_only(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with History(tmp_path / "history.sqlite") as history:
        answer = TaskResult("one", evidence={("../../cell", "../test"): {"../../console.raw": b"words"}})
        ResultSink(history, ORDER.run, runs).store(answer)
    written = list(tmp_path.rglob("*console.raw"))
    assert len(written) == 1 and runs in written[0].parents and written[0].read_bytes() == b"words"


def test_ids_tell_records_apart() -> None:
    other = replace(ORDER, run="another night")
    ids = [verdict_id(ORDER, "a"), verdict_id(ORDER, "b"), verdict_id(other, "a"), measurement_id(ORDER, "a", 0)]
    assert len({*ids, measurement_id(ORDER, "a", 1)}) == 5
