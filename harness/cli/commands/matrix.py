"""Show which cells run here, which can't, which make no sense and which are not driven yet, and why."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import click
from rich.markup import escape
from rich.table import Table

from harness.cli import completion as complete
from harness.cli.declaration import argument, declare, option
from harness.cli.options import Common, KernelName, SetName
from harness.cli.output import screen, table
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.core.matrix import NAME_AXES, Matrix
from harness.core.suggestions import did_you_mean, nearest
from harness.host.availability import Availability, AvailabilityCheck, Support
from harness.host.host import Host
from harness.vm.registry import driver_names

GITHUB_LIMIT = 256
"""The most jobs that GitHub makes of one matrix. Source: docs.github.com, Actions limits."""

STYLES = {
    Support.RUNS: "green", Support.IN_LAB: "cyan", Support.CANNOT: "yellow", Support.NOT_DRIVEN: "dim",
    Support.INVALID: "dim",
}  # fmt: skip
DRIVEN = (Support.RUNS, Support.IN_LAB, Support.CANNOT)
"""The support of valid cells whose hypervisor has a driver."""


@dataclass
class Arguments(Common):
    """Which cells of which kernel, and the format."""

    pattern: Annotated[
        tuple[str, ...],
        argument(
            "pattern", nargs=-1, shell_complete=complete.cells,
            help="a cell's name, or one with * or ?: qemu-zfs, 'aarch64-*'",
        ),
    ]  # fmt: skip
    set: SetName
    kernel: KernelName
    format: Annotated[
        str,
        option(
            "--format", type=click.Choice(["table", "json", "github"]), default="table",
            help="for people, programs, or a workflow",
        ),
    ]  # fmt: skip


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Show the selected cells, or a summary of all cells of one kernel."""
    matrix = Matrix.load()
    kernel = matrix.named("kernel", arguments.kernel or ("osv" if arguments.osv_root else "linux"))
    check = AvailabilityCheck(matrix, Host(), driver_names(), arguments.osv_root)
    selected = list(dict.fromkeys(_selected(matrix, kernel, arguments)))
    everything = not (arguments.pattern or arguments.set)
    found = [check.of(cell) for cell in selected or matrix.cells(kernel)]
    if arguments.format == "json":
        print(json.dumps([_plain(row) for row in found], indent=1))
    elif arguments.format == "github":
        print(json.dumps(_github(matrix, found)))
    elif everything:
        _summarise(matrix, kernel, found)
    else:
        _list(matrix, found)
    return 0


def _selected(matrix: Matrix, kernel: str, arguments: Arguments) -> Iterator[Cell]:
    if arguments.set:
        yield from matrix.set(arguments.set, kernel)
    for pattern in arguments.pattern:
        if "*" in pattern or "?" in pattern:
            yield from _matching(matrix, kernel, pattern)
        else:
            yield matrix.parse(pattern, kernel)


def _matching(matrix: Matrix, kernel: str, pattern: str) -> list[Cell]:
    """The cells whose short or full name matches the pattern, with the options that it ends with."""
    prefix, _, rest = pattern.rpartition(":")
    name, *options = rest.split("+")
    if unknown := [option for option in options if option not in matrix.options]:
        raise CellError(f"There is no option {unknown[0]!r}.", did_you_mean(unknown[0], matrix.options))
    cells = list(matrix.cells(prefix or kernel, tuple(options)))
    suffix = "".join(f"+{option}" for option in sorted(set(options)))
    found = [
        cell for cell in cells
        if any(fnmatchcase(known, name + suffix) for known in (matrix.short(cell), str(cell).partition(":")[2]))
    ]  # fmt: skip
    if not found:
        near = nearest(name.replace("*", ""), [matrix.short(cell) for cell in cells if not cell.options])
        offer = f"Did you mean {' or '.join(near)}?" if near else "`osv-harness matrix` shows what there is."
        raise CellError(f"No cell matches {pattern!r}.", offer)
    return found


def _list(matrix: Matrix, found: list[Availability]) -> None:
    rows = table("cell", "kernel", "here", "why")
    for row in found:
        support = f"[{STYLES[row.support]}]{row.support}[/]"
        rows.add_row(matrix.short(row.cell), row.cell.kernel, support, escape(row.reason))
    screen().print(rows)


def _summarise(matrix: Matrix, kernel: str, found: list[Availability]) -> None:
    """One row for each arch and hypervisor and the filesystems that behave alike there; then counts of the
    rest."""
    groups: dict[tuple[str, str, str], dict[Support, list[Availability]]] = defaultdict(lambda: defaultdict(list))
    for row in found:
        if row.support in DRIVEN:
            groups[row.cell.arch, row.cell.hypervisor, row.cell.fs][row.support].append(row)
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (arch, hypervisor, fs), by_support in groups.items():
        profiles = tuple(" ".join(row.cell.profile for row in by_support[support]) for support in DRIVEN)
        alike[arch, hypervisor, profiles].append(fs)
    columns = ("profiles that run here", "that run in the lab", "that can't run here")
    rows = table("arch", "hypervisor", "filesystems", *columns)
    for (arch, hypervisor, profiles), filesystems in alike.items():
        shown = [f"[{STYLES[support]}]{text}[/]" for support, text in zip(DRIVEN, profiles, strict=True)]
        rows.add_row(arch, hypervisor, " ".join(filesystems), *shown)
    out = screen()
    out.print(f"Cells of {kernel}: arch-hypervisor-filesystem-profile\n")
    out.print(rows)
    for support in Support:
        out.print(f"\n[bold]{support}: {sum(row.support is support for row in found)}[/]")
        if support is not Support.RUNS:
            out.print(_counted([row for row in found if row.support is support]))
    options = table("option", "meaning", "invalid where")
    for name, meaning in matrix.options.items():
        options.add_row(f"+{name}", meaning, matrix.invalid(_plainest(matrix, kernel, name)) or "")
    out.print("\n[bold]options[/], added to a cell's name:")
    out.print(options)


def _counted(found: list[Availability]) -> Table:
    """Each reason once, with the values of all cells that have it, and their number."""
    kinds: dict[str, list[Availability]] = defaultdict(list)
    for row in found:
        kinds[row.kind].append(row)
    rows = Table.grid(padding=(0, 2))
    rows.add_column(justify="right", min_width=6)
    rows.add_column(overflow="fold")
    for kind, alike in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        reason = kind
        for axis in NAME_AXES:
            values = dict.fromkeys(getattr(row.cell, axis) for row in alike)
            reason = reason.replace(f"{{{axis}}}", "/".join(values))
        rows.add_row(str(len(alike)), escape(reason))
    return rows


def _plainest(matrix: Matrix, kernel: str, option: str) -> Cell:
    """The default cell with one option, as an example of where the option is invalid."""
    return matrix.parse(f"{kernel}:+{option}", kernel)


def _plain(row: Availability) -> dict[str, object]:
    return {"name": str(row.cell), **asdict(row.cell), "standing": row.support, "reason": row.reason}


def _github(matrix: Matrix, found: list[Availability]) -> dict[str, list[dict[str, object]]]:
    """A strategy matrix of every valid cell with a driver; each workflow chooses its own runners.

    Raises `HarnessError` if GitHub would refuse it.
    """
    jobs = [
        {"cell": str(row.cell), "name": matrix.short(row.cell), "kernel": row.cell.kernel, "arch": row.cell.arch,
         "runs_here": row.support is Support.RUNS}
        for row in found if row.support in DRIVEN
    ]  # fmt: skip
    if len(jobs) > GITHUB_LIMIT:
        raise HarnessError(
            f"{len(jobs)} cells are more than the {GITHUB_LIMIT} jobs that GitHub allows in a matrix.",
            "Name a set (--set nightly) or a narrower pattern.",
        )
    return {"include": jobs}
