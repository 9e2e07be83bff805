"""The document that the history keeps of a bisection: its builds with their numbers, and what the culprit
changed."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.analysis.bisect.answer import Answer
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.forecast import forecast
from harness.analysis.bisect.state import State
from harness.core.machine import Image
from harness.kernels.symbols import Symbols
from harness.metrics.records import Sample
from harness.metrics.size import sections

LIKELY = 0.001
"""Commits that were not built are listed from this probability."""
MOST_COMMITS, MOST_SYMBOLS = 300, 40
"""How many commits are listed, and how many symbols: those that changed most."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A part that the culprit changed. `kind` is `phase` (of the boot), `section` or `symbol` (of the kernel); the
    values are in `unit`."""

    kind: str
    name: str
    before: float
    after: float
    unit: str


def bisection_document(
    state: State, commits: Commits, answer: Answer, differences: Sequence[Difference]
) -> dict[str, Any]:
    """Plain JSON values: the answer, every commit that was built or is likely, and the differences."""
    ahead = forecast(state)
    rows = [
        _commit(state, commits, index, ahead.mass[index] if ahead else 0.0)
        for index in range(len(commits.commits))
    ]
    listed = [row for row in rows if row["builds"] or row["broken"] or row["probability"] >= LIKELY]
    return {
        "measure": {
            "name": state.measure.name, "unit": state.measure.unit, "kind": str(state.measure.kind),
            "schedule": state.measure.schedule,
        },
        "answer": answer.to_json(),
        "range": [commits.good, commits.bad, len(commits.commits) - 1],
        "commits": listed[:MOST_COMMITS],
        "differences": [asdict(one) for one in differences],
    }


def _commit(state: State, commits: Commits, index: int, probability: float) -> dict[str, Any]:
    keys = sorted(key for key in state.builds if key.index == index and not key.for_check)
    return {
        "commit": commits.commits[index],
        "subject": commits.subject(index) if keys or probability >= LIKELY else "",
        "probability": float(probability),
        "builds": [{"layout": key.layout, "values": state.numbers(key)} for key in keys if state.usable(key)],
        "broken": next((why for key, why in state.broken.items() if key.index == index), ""),
    }


def phase_differences(before: Sequence[Sample], after: Sequence[Sample]) -> list[Difference]:
    """The parts of a measured total that differ between the samples of both sides."""
    old, new = ({one.metric.name: one for one in side if one.metric.is_part} for side in (before, after))
    return [
        Difference("phase", name, old[name].value, new[name].value, new[name].metric.unit)
        for name in new
        if name in old and old[name].value != new[name].value
    ]


def kernel_differences(before: Image, after: Image, symbols: tuple[Symbols, Symbols] | None) -> list[Difference]:
    """The sections whose size differs, and the functions that changed most, in bytes."""
    files = [image.symbols or image.kernel for image in (before, after)]
    old, new = (sections(file) for file in files)
    found = [Difference("section", name, *pair, "B") for name, pair in _changed(old, new).items()]
    if symbols is None:
        return found
    sizes = [Counter[str]() for _ in symbols]
    for side, table in zip(sizes, symbols, strict=True):
        for function in table.functions:
            side[function.name] += function.size
    changed = sorted(_changed(*sizes).items(), key=lambda row: -abs(row[1][1] - row[1][0]))[:MOST_SYMBOLS]
    names = demangled([name for name, _ in changed])
    return found + [Difference("symbol", names[name], *pair, "B") for name, pair in changed]


def _changed(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    names = dict.fromkeys((*old, *new))
    pairs = {name: (old.get(name, 0), new.get(name, 0)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def demangled(names: Sequence[str]) -> dict[str, str]:
    """C++ names demangled, by their mangled ones; unchanged if binutils' c++filt is missing."""
    if shutil.which("c++filt") is None or not names:
        return {name: name for name in names}
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines(), strict=True))
