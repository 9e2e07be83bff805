"""Lines about reused verdicts: how many of the last night were reused, and the alarm where a check differs."""

from collections.abc import Mapping, Sequence

from harness.metrics.records import Document
from harness.report.model.formatting import version_name

REUSE = "reuse"
"""The kind of the documents that count by cell: `{"ran": 1, "reused": 9, "checked": 1, "differed": {}}`."""

ALARM = "the harness's rule of reuse is broken"
NIGHT_SECONDS = 24 * 3600.0
MOST_ALARMS = 10


def reuse_lines(documents: Sequence[Document]) -> tuple[list[str], list[str]]:
    """Alarms, and lines about how much was reused, of the newest version's last day."""
    every = [one for one in documents if one.kind == REUSE]
    if not every:
        return [], []
    newest = max(every, key=lambda one: one.taken)
    ours = [one for one in every if one.version == newest.version and newest.taken - one.taken < NIGHT_SECONDS]
    alarms = [f"{ALARM}: {one.cell}/{test}: {how}" for one in ours for test, how in _differed(one.body)]
    if len(alarms) > MOST_ALARMS:
        alarms = [*alarms[:MOST_ALARMS], f"{ALARM}, and {len(alarms) - MOST_ALARMS} times more"]
    ran, reused, checked = (sum(_count(one.body, name) for one in ours) for name in ("ran", "reused", "checked"))
    if not reused and not checked:
        return alarms, []
    of = f"Of {ran + reused} tests of {version_name(newest.version)}, {reused} were not run: the very same thing"
    return alarms, [f"{of} ran before, and its verdict stands. {checked} ran all the same to check that."]


def _differed(body: Mapping[str, object]) -> list[tuple[str, str]]:
    """The checks that differ. The document may be another's."""
    rows = body.get("differed")
    return [(str(test), str(how)) for test, how in rows.items()] if isinstance(rows, dict) else []


def _count(body: Mapping[str, object], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 0
