"""The two sides of an A/B test, named by commit, option, cell or checkout: how they are built and measured in
pairs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from harness.analysis.ab.sequential_test import LEVEL, Comparison, Judgement
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.core.events import publish
from harness.kernels.osv.checkout import LANDMARKS
from harness.kernels.osv.clones import CommitClones
from harness.metrics import suite
from harness.metrics.records import Metric, Sample
from harness.metrics.suite import Measured, Measurement
from harness.runner.session import Session

TRIES = 3
"""How often a measurement that gave no number is repeated."""

DEFAULT = ("boot.instructions", "size.kernel", "boot.wall")


@dataclass(frozen=True, slots=True)
class Side:
    """One side, built: its name as given, its cell, and its measurements by name."""

    name: str
    cell: Cell
    measurements: Mapping[str, Measurement]


def build(session: Session, cell: Cell, name: str, metrics: Iterable[str], duration: float, run: str) -> Side:
    """Build the side that `name` means, with everything that the metrics need.

    A name is a cell (`linux:qemu-rofs`), one more option (`+hide_symbols`) or none (`+`), a folder with an OSv
    checkout, or a commit of the session's checkout. `run` is the id of the run that measures it. Raises
    `HarnessError` if the name is none of these or can't be built.
    """
    metrics = list(metrics)
    side_cell = cell_of(session, cell, name)
    if is_checkout(name):
        return _built(Session(Path(name), session.cache), name, side_cell, metrics, duration, run)
    if not is_commit(session, cell, name):
        return _built(session, name, side_cell, metrics, duration, run)
    assert session.osv_root
    revisions = CommitClones(session.osv_root, session.cache)
    with revisions.at(revisions.resolve(name)) as root:
        return _built(Session(root, session.cache), name, side_cell, metrics, duration, run)


def cell_of(session: Session, cell: Cell, name: str) -> Cell:
    """The cell of the side that `name` means. Raises `CellError` if the name means no side."""
    if name.startswith("+"):
        return session.matrix.with_options(cell, [option for option in name.split("+") if option])
    if ":" in name:
        return session.cell(name)
    if not is_checkout(name) and not is_commit(session, cell, name):
        raise CellError(
            f"{name} is no side of a comparison on {cell}.",
            "Name a cell (linux:qemu-rofs), +OPTION, an OSv checkout's folder, or, with OSV_ROOT, a commit.",
        )
    return cell


def is_checkout(name: str) -> bool:
    """Whether `name` is the folder of an OSv checkout."""
    return (Path(name) / LANDMARKS[0]).is_file()


def is_commit(session: Session, cell: Cell, name: str) -> bool:
    """Whether `name` can only be a commit of the session's checkout."""
    other = name.startswith("+") or ":" in name or is_checkout(name)
    return not other and cell.kernel == "osv" and session.osv_root is not None


def _built(
    session: Session, name: str, cell: Cell, metrics: Sequence[str], duration: float, run: str
) -> Side:  # fmt: skip
    session.check_runs(cell)
    names = dict.fromkeys(suite.measuring(metric, cell) for metric in metrics)
    measurements = {
        one: suite.prepare(session, cell, one, run, duration, boots=1, metrics=metrics) for one in names
    }
    return Side(name, cell, measurements)


def compare(
    a: Side, b: Side, metrics: Iterable[str], most: int, interesting: float,
    keep: Callable[[Measured], None], rng: Random, level: float = LEVEL,
) -> dict[str, Judgement]:  # fmt: skip
    """Measure the sides in pairs, in random order, until each metric is decided or `most` pairs are used.

    `keep` receives every measurement. Raises `HarnessError` if what is measured does not pass on a side, or if
    neither side measures a metric.
    """
    metrics = list(metrics)
    tried: list[_Pair] = []
    while (compared := _comparable(tried, metrics)) is None:
        tried.append(_pair(a, b, list(a.measurements), keep, rng))
    comparison = Comparison(compared.values(), level, most, interesting)
    comparison.add(_values(tried[-1], metrics))
    while not comparison.done:
        undecided = {name for name, one in comparison.judgements().items() if one.decision == "undecided"}
        needed = dict.fromkeys(suite.measuring(name, a.cell) for name in metrics if name in undecided)
        comparison.add(_values(_pair(a, b, needed, keep, rng), metrics))
        publish("comparison.pair", f"{a.name} and {b.name}", f"{comparison.pairs} of at most {most} pairs")
    return comparison.judgements()


def measure_once(side: Side, measurement: str, metric: str) -> float:
    """Measure one value of a metric. Raises `HarnessError` if there is none after `TRIES` runs."""
    for _ in range(TRIES):
        for sample in side.measurements[measurement].take().samples:
            if sample.metric.name == metric:
                return sample.value
    raise HarnessError(f"Nothing measured {metric} of {side.name} in {TRIES} runs.", "Is the host busy?")


_Pair = tuple[dict[str, Sample], dict[str, Sample]]


def _pair(a: Side, b: Side, needed: Iterable[str], keep: Callable[[Measured], None], rng: Random) -> _Pair:
    """Take every needed measurement of both sides once."""
    found: dict[str, dict[str, Sample]] = {"a": {}, "b": {}}
    for name in needed:
        for side in Comparison.order(rng):
            measured = {"a": a, "b": b}[side].measurements[name].take()
            keep(measured)
            found[side] |= {sample.metric.name: sample for sample in measured.samples}
    return found["a"], found["b"]


def _values(pair: _Pair, metrics: Iterable[str]) -> dict[str, tuple[float | None, float | None]]:
    a, b = pair
    return {
        name: (a[name].value if name in a else None, b[name].value if name in b else None)
        for name in metrics
        if name in a or name in b
    }


def _comparable(tried: Sequence[_Pair], metrics: Iterable[str]) -> dict[str, Metric] | None:
    """The metrics to compare, taken from the last pair; None if another pair must be measured first.

    A metric is exact only if it is exact on both sides. Raises `HarnessError` if `TRIES` pairs lacked a metric.
    """
    if not tried:
        return None
    a, b = tried[-1]
    if missing := [name for name in metrics if name not in a or name not in b]:
        if len(tried) < TRIES:
            return None
        why = "A load that its generator limits gives no number: is the host busy?"
        near = ", ".join(sorted({**a, **b})[:8])
        raise HarnessError(f"Nothing measured {missing[0]} in {TRIES} pairs.", f"{why} Measured were: {near}, …")
    return {name: replace(a[name].metric, exact=a[name].metric.exact and b[name].metric.exact) for name in metrics}
