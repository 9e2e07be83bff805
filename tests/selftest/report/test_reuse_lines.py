"""What a report says of reused verdicts: how many, and first of all a check that differs."""

from dataclasses import replace

from history_records import VERSION, document, judged

from harness.report.html.documents import records
from harness.report.markdown import markdown
from harness.report.report_data import make_report_data

DIFFERS = {"tst-a.so": "failed, where passed"}


def test_what_was_reused_is_said_and_an_alarm_comes_first() -> None:
    """Of the last night, all cells together."""
    body = {"ran": 2, "reused": 7, "checked": 1, "differed": DIFFERS}
    old = document(kind="reuse", body={**body, "reused": 100}, taken=1e6)
    rows = [old, *(document(kind="reuse", cell=cell, body=body, taken=2e6) for cell in ("c1", "c2"))]
    told = make_report_data([], [judged()], rows, {})
    assert told.asides[0] == (
        "Of 18 tests of v0.57.0-398, 14 were not run: the very same thing ran before, and its verdict stands. "
        "2 ran all the same to check that."
    )
    broken = "the harness's rule of reuse is broken"
    assert told.notes == [f"{broken}: {cell}/tst-a.so: failed, where passed" for cell in ("c1", "c2")]
    text = markdown(told)
    assert text.index(broken) < text.index("Of 18 tests")
    assert not records(told), "counts are no documents to be read"


def test_what_was_reused_was_compared() -> None:
    """Of a version of which nothing ran, since all of it ran before, the Markdown says that nothing broke."""
    before, after = (replace(VERSION, commit=sign * 40, committed=at) for sign, at in (("a", 1.0), ("b", 2.0)))
    rows = [
        judged(version=before, taken=1.0, run="r1"),
        judged(version=after, taken=2.0, run="r2", outcome="reused", reason="reused from r1"),
    ]
    text = markdown(make_report_data([], rows, [], {}))
    assert "nothing broke" in text and "Compared: 1 verdicts" in text and "↻ 1 `reused`" in text, text
    failed_since = judged(version=after, test="tst-b.so", taken=2.0, run="r2", outcome="failed", expected=False)
    was_reused = judged(version=before, test="tst-b.so", taken=1.0, run="r1", outcome="reused")
    text = markdown(make_report_data([], [*rows, was_reused, failed_since], [], {}))
    assert "1 test broke" in text and "Compared: 2 verdicts" in text, text


def test_a_document_of_anothers_is_no_error() -> None:
    spoilt = document(kind="reuse", body={"reused": "many", "differed": ["x"]})
    told = make_report_data([], [judged()], [spoilt], {})
    assert (told.notes, told.asides) == ([], [])
    many = document(kind="reuse", body={"differed": {str(number): "x" for number in range(50)}})
    assert make_report_data([], [judged()], [many], {}).notes[-1].endswith("and 40 times more")


def test_a_night_that_reused_nothing_says_nothing() -> None:
    ran = document(kind="reuse", body={"ran": 9, "reused": 0, "checked": 0, "differed": {}})
    told = make_report_data([], [judged()], [ran], {})
    assert (told.notes, told.asides) == ([], [])
