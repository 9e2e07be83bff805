"""Lays out the verdicts of the matrix as a grid: a row for each kernel, arch, hypervisor, profile and variant, a
column for each filesystem."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from harness.core.cell import Cell
from harness.core.matrix import Matrix
from harness.report.model.figures import anchor
from harness.report.model.outcomes import BAD, GOOD, Count, Test, counts

OTHER_NAMES = "other"
"""The column of cells whose names are not in this matrix."""


@dataclass(frozen=True, slots=True)
class Square:
    """One cell of the matrix and its verdicts.

    Without `counts` it has none to show: either it did not run, and `why` says whether it is invalid, or its
    latest verdicts are `nights` nights old.
    """

    cell: str
    anchor: str
    counts: Sequence[Count]
    standing: str
    why: str = ""
    nights: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The cells that differ in their filesystem alone."""

    name: str
    squares: Sequence[Square]


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid: `columns` are the names of the squares of every row."""

    columns: Sequence[str]
    rows: Sequence[Row]


def grid(tests: Sequence[Test], matrix: Matrix, missing: Mapping[str, int] = MappingProxyType({})) -> Grid:
    """Lay out all cells that ever ran, with the cells that fill their rows.

    `missing` are the cells without a result of the last night, and how many nights old their latest results are.
    """
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    rows: dict[str, dict[str, Square]] = defaultdict(dict)
    examples: dict[str, Cell] = {}
    for name, alike in by_cell.items():
        row, column, cell = _place(name, matrix)
        old = missing.get(name, 0)
        rows[row][column] = _square(name, alike)
        if old:
            rows[row][column] = Square(name, anchor("cell", name), (), "missing", nights=old)
        if cell:
            examples[row] = cell
    columns = [*matrix.axes["fs"].values]
    if any(OTHER_NAMES in squares for squares in rows.values()):
        columns.append(OTHER_NAMES)
    return Grid(
        columns,
        [
            Row(name, [squares.get(column) or _hole(examples.get(name), column, matrix) for column in columns])
            for name, squares in sorted(rows.items())
        ],
    )


def _place(name: str, matrix: Matrix) -> tuple[str, str, Cell | None]:
    """The row and the column of a cell by its name, and the cell; None if the matrix has no cell of that name."""
    cell = matrix.find(name)
    if cell is None:
        return name, OTHER_NAMES, None
    others = "".join(f" +{option}" for option in cell.options) + (f" /{cell.variant}" if cell.variant else "")
    return f"{cell.kernel} {cell.arch} {cell.hypervisor} {cell.profile}{others}", cell.fs, cell


def _square(name: str, tests: Sequence[Test]) -> Square:
    counted = counts(tests)
    return Square(name, anchor("cell", name), counted, BAD if any(c.standing == BAD for c in counted) else GOOD)


def _hole(beside: Cell | None, fs: str, matrix: Matrix) -> Square:
    """The square of a cell that never ran, next to the cell `beside` of the same row; says why if the cell is
    invalid."""
    if beside is None or fs == OTHER_NAMES:
        return Square("", "", (), "none")
    cell = replace(beside, fs=fs)
    invalid = matrix.invalid(cell)
    return Square(str(cell), "", (), "invalid" if invalid else "none", invalid or "")
