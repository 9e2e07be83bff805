"""The history takes only what is sound: records that can be kept, and lines of others that are whole and known."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from history_records import (
    METRIC,
    WHERE,
    decisions,
    document,
    documents,
    judged,
    sample,
    samples,
    values,
    verdicts,
    words,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.metrics.history import jsonl
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Document, Sample, Version


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "history.sqlite")


@settings(max_examples=100, deadline=None)
@given(record=samples | verdicts | documents | decisions)
def test_records_go_through_a_line_of_plain_ascii(record: Sample | VerdictRecord | Document | Triage) -> None:
    line = line_of(record)
    assert all(32 <= byte < 127 for byte in line[:-1]) and line[-1:] == b"\n"
    assert list(records_in(io.BytesIO(line))) == [record]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (sample(value=float("nan")), "value is not finite"),
        (sample(spread=float("inf")), "spread is not finite"),
        (sample(value=10**400), "value is not finite"),
        (sample(value=True), "value is no number"),
        (sample(subject="x" * 501), "subject has more than 500 bytes"),
        (sample(subject="\0" * 100), "subject has more than 500 bytes"),
        (sample(id=""), "id is not 1 to 64"),
        (sample(environment=replace(WHERE, load=float("nan"))), "load is not finite"),
        (judged(expected=1), "expected is neither true nor false"),
        (document(body={"a": float("nan")}), "Out of range float values are not JSON compliant"),
        (document(body={"a": {1, 2}}), "body is not JSON"),
        (sample(version=Version([], "")), "can't be kept"),  # type: ignore[arg-type]
        ("a string", "a sample is no str"),
    ],
)
def test_what_cant_be_kept_is_refused_before_anything_is(file: str, wrong: Any, said: str) -> None:
    with History(file) as history:
        with pytest.raises(HarnessError, match=said):
            history.add([sample(), wrong])
        assert history.samples() == []


def changed(**others: Any) -> bytes:
    row = json.loads(line_of(sample())) | others
    return json.dumps({name: value for name, value in row.items() if value is not ...}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (line_of(sample())[:-9], "cut off"),
        (line_of(sample())[:-1], "cut off"),
        (b"\n", "is not JSON"),
        (b'{"a": \n', "is not JSON"),
        (b"\xff\xfe\n", "is not UTF-8 from byte 0"),
        (b"[" * 100_000 + b"]" * 100_000 + b"\n", "nested too deeply"),
        (b"[1]\n", "it is no object"),
        (changed(type="user"), "type is none of sample, judged, document, commit"),
        (changed(type=[]), "type is none of"),
        (changed(schema=4), "it is of schema 4, and this harness knows 1 to 3"),
        (changed(schema=True), "it is of schema True"),
        (changed(extra=1), "unknown: 'extra'"),
        (changed(**{"\x1b[2J": 1}), r"unknown: '\\x1b\[2J'"),
        (changed(run=...), "missing: 'run'"),
        (changed(value="1"), "value is no number"),
        (changed(value=float("nan")), "NaN is not JSON"),
        (changed(value=0).replace(b'"value": 0', b'"value": 1e999'), "value is not finite"),
        (changed(value=0).replace(b'"value": 0', b'"value": ' + b"1" * 5000), "no record"),
        (changed(metric=METRIC.name), "a metric is no str"),
        (changed(metric={"name": "a b", "unit": "", "better": "lower", "exact": False}), "no metric's name"),
        (changed(metric={"name": "a", "unit": "", "better": "more", "exact": False}), "better is none of lower"),
        (changed(metric={"name": "a", "unit": "", "better": "lower", "exact": 0}), "exact is neither true"),
        (changed(id="../etc"), "id is not"),
        (changed(cell="x" * 10_000), "cell has more than 500 bytes"),
        (changed(cell=None), "cell is no string"),
    ],
)
def test_an_unsound_line_is_named_and_nothing_is_imported(file: str, line: bytes, said: str) -> None:
    whole = b"".join(line_of(sample()) for _ in range(1500))
    with History(file) as history:
        with pytest.raises(HarnessError, match=f"^Line 1501 .*{said}") as raised:
            history.import_(io.BytesIO(whole + line))
        assert raised.value.message.isprintable() and len(raised.value.message) < 500
        assert history.samples() == []


def test_a_line_without_an_end_is_not_read_into_memory(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LINE_SIZE", 1 << 20)
    with History(file) as history, pytest.raises(HarnessError, match=r"Line 1 has more than 1 MiB\."):
        history.import_(io.BytesIO(b" " * (3 << 20)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_line_says_it_is_a_record_or_is_named(data: st.DataObject) -> None:
    row = json.loads(line_of(data.draw(samples | verdicts | documents | decisions)))
    target = data.draw(st.sampled_from([row, *(value for value in row.values() if isinstance(value, dict))]))
    name = data.draw(st.sampled_from(sorted(target)) if target else words)
    target[name] = data.draw(values)
    line = json.dumps(row).encode() + b"\n"
    try:
        (record,) = records_in(io.BytesIO(line))
    except HarnessError as error:
        assert error.message.startswith("Line 1 ") and error.message.isprintable()
    else:
        assert list(records_in(io.BytesIO(line_of(record)))) == [record]
