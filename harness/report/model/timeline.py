"""The versions of each kernel in the order of their history, each with a number for figures."""

from collections.abc import Iterable, Set
from typing import Any

from harness.analysis.regression.ancestry import Node, Seen, ancestry, node_of
from harness.analysis.regression.grouping import kernel_of
from harness.metrics.records import Version
from harness.report.model.data import ReportData
from harness.report.model.formatting import moment, version_name
from harness.report.model.spans import Span, spans_of

Key = tuple[str, str, str]


class Timeline:
    """Numbers the versions: of two versions of one kernel, the later one has the greater number.

    The order is that of `harness.analysis.regression.ancestry`: along one branch, with the versions that left it
    behind the place where they left.
    """

    def __init__(self, report_data: ReportData, spans: Iterable[Span] | None = None) -> None:
        self._taken: dict[Key, float] = {}
        self._committed: dict[Key, float] = {}
        self._nodes: dict[Key, Node] = {}
        self._cells: dict[Key, set[str]] = {}
        for span in spans_of(report_data.rows) if spans is None else spans:
            self._note(span)
        places: dict[tuple[str, Node], int] = {}
        for kernel in {key[0] for key in self._taken}:
            ones = {self._nodes[key]: key for key in self._taken if key[0] == kernel}
            seen = {node: Seen(key[2], self._committed[key], self._taken[key]) for node, key in ones.items()}
            order = ancestry(seen, report_data.graph).order()
            places |= {(kernel, node): place for place, node in enumerate(order)}
        keys = sorted(self._taken, key=lambda key: (key[0], places[key[0], self._nodes[key]], self._taken[key]))
        self._numbers = {key: number for number, key in enumerate(keys)}

    def number(self, cell: str, version: Version) -> int | None:
        """The version's number; None if nothing was recorded of it."""
        return self._numbers.get(_key(cell, version))

    def kernels(self) -> dict[str, int]:
        """The number of versions of each kernel."""
        counts: dict[str, int] = {}
        for kernel, _, _ in self._numbers:
            counts[kernel] = counts.get(kernel, 0) + 1
        return counts

    def to_json(self) -> list[dict[str, Any]]:
        """The versions in their order: name, commit, kernel and date."""
        return [
            {
                "name": version_name(Version(commit, "", described)), "commit": commit, "kernel": kernel,
                "when": moment(self._committed[key := (kernel, commit, described)] or self._taken[key]),
            }
            for kernel, commit, described in self._numbers
        ]  # fmt: skip

    def cells_of(self, kernel: str, commit: str, described: str) -> Set[str]:
        """The cells with a record of that version."""
        return self._cells.get((kernel, commit, described), frozenset())

    @property
    def versions(self) -> list[Key]:
        """The kernel, commit and description of each version, in the order of their numbers."""
        return list(self._numbers)

    def _note(self, span: Span) -> None:
        key = _key(span.cell, span.version)
        self._taken[key] = min(span.first, self._taken.get(key, span.first))
        self._committed[key] = max(span.version.committed, self._committed.get(key, 0.0))
        self._nodes[key] = node_of(span.version)
        self._cells.setdefault(key, set()).add(span.cell)


def _key(cell: str, version: Version) -> Key:
    # Not the digest: each cell has an image of its own, of the same commit.
    return kernel_of(cell), version.commit, version.described
