"""The matrix as a grid of verdicts: kernel, arch, hypervisor and profile down, filesystems across."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from harness.core.cell import Cell
from harness.core.matrix import Matrix
from harness.report.model.figures import anchor
from harness.report.model.outcomes import BAD, GOOD, Count, Test, counts

OTHER_NAMES = "other"
"""The column of cells whose names this matrix can't read."""


@dataclass(frozen=True, slots=True)
class Square:
    """One cell's verdicts. Without `counts` it was not run: `why` says whether it could be, or that its latest
    verdicts, of `nights` ago, are not last night's."""

    cell: str
    anchor: str
    counts: Sequence[Count]
    standing: str
    why: str = ""
    nights: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The cells that differ in nothing but their filesystem."""

    name: str
    squares: Sequence[Square]


@dataclass(frozen=True, slots=True)
class Grid:
    """`columns` name the squares of every row."""

    columns: Sequence[str]
    rows: Sequence[Row]


def grid(tests: Sequence[Test], matrix: Matrix, missing: Mapping[str, int] = MappingProxyType({})) -> Grid:
    """The grid of all cells that were ever run, and of those beside them; `missing` are those that have no result
    of the last night, and for how many nights."""
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
    """The row and column of a cell, and the cell, if its name is one of this matrix."""
    cell = matrix.find(name)
    if cell is None:
        return name, OTHER_NAMES, None
    options = "".join(f" +{option}" for option in cell.options)
    return f"{cell.kernel} {cell.arch} {cell.hypervisor} {cell.profile}{options}", cell.fs, cell


def _square(name: str, tests: Sequence[Test]) -> Square:
    counted = counts(tests)
    return Square(name, anchor("cell", name), counted, BAD if any(c.standing == BAD for c in counted) else GOOD)


def _hole(beside: Cell | None, fs: str, matrix: Matrix) -> Square:
    if beside is None or fs == OTHER_NAMES:
        return Square("", "", (), "none")
    cell = Cell(beside.kernel, beside.arch, beside.hypervisor, fs, beside.profile, beside.options)
    invalid = matrix.invalid(cell)
    return Square(str(cell), "", (), "invalid" if invalid else "none", invalid or "")
