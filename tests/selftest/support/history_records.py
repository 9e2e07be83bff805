"""Records for the tests of the history: a plain one of each kind, and whatever one may hold."""

from typing import Any

from hypothesis import strategies as st

from harness.metrics.history.records import Action, Triage, VerdictRecord
from harness.metrics.records import Better, Document, Environment, Metric, Sample, Version

WHERE = Environment("runner", "a cpu", 4, "performance", "kvm", "QEMU 7.2.22", "6.1.0", load=0.25)
VERSION = Version("c" * 40, "d" * 64, "v0.57.0-398", committed=1000.0)
METRIC = Metric("boot.seconds", "s")


def sample(**others: Any) -> Sample:
    given: dict[str, Any] = {
        "metric": METRIC, "value": 0.2, "cell": "linux:x86_64-qemu-rofs-all", "subject": "redis",
        "version": VERSION, "environment": WHERE, "run": "r", "taken": 5.0,
    }  # fmt: skip
    return Sample(**given | others)


def judged(**others: Any) -> VerdictRecord:
    given: dict[str, Any] = {
        "suite": "unit", "cell": "c", "test": "tst-a.so", "outcome": "passed", "expected": True, "reason": "",
        "seconds": 1.5, "version": VERSION, "environment": WHERE, "run": "r", "taken": 5.0,
    }  # fmt: skip
    return VerdictRecord(**given | others)


def document(**others: Any) -> Document:
    given: dict[str, Any] = {
        "kind": "load", "cell": "c", "subject": "redis", "body": {"seconds": [1, 2.5, None]}, "version": VERSION,
        "run": "r", "taken": 5.0,
    }  # fmt: skip
    return Document(**given | others)


def triage(**others: Any) -> Triage:
    given: dict[str, Any] = {
        "action": Action.ACKNOWLEDGE, "subject": "test/osv/tst-a.so", "identity": "failed: status N",
        "author": "ann", "note": "known", "body": {"assignee": "bob"}, "taken": 5.0,
    }  # fmt: skip
    return Triage(**given | others)


reals = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters() | st.sampled_from("\0\x1b\\\"'\ud800\udfff\u202e[]%"), max_size=30)
names = st.from_regex(r"[A-Za-z0-9_+/-]{1,8}(\.[A-Za-z0-9_+/-]{1,8}){0,3}", fullmatch=True)
metrics = st.builds(Metric, names, words, st.sampled_from(Better), st.booleans())
versions = st.builds(Version, words, words, words, reals, words)
places = st.builds(Environment, words, words, st.integers(0, 4096), words, words, words, words, reals, words)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | reals | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
samples = st.builds(
    Sample, metrics, reals, words, words, versions, places, words, reals, reals, procedure=words
)
verdicts = st.builds(
    VerdictRecord, words, words, words, words, st.booleans(), words, reals, versions, places, words, reals
)
documents = st.builds(Document, words, words, words, st.dictionaries(words, values), versions, words, reals)
decisions = st.builds(
    Triage, st.sampled_from(Action), words, words, words, words, st.dictionaries(words, values), reals
)
