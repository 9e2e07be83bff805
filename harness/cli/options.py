"""Options that commands share: an option with one meaning is one object, with its type, help and completion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import click

from harness.cli import completion as complete
from harness.cli.declaration import argument, option
from harness.cli.number_types import POSITIVE
from harness.core.procedure import DURATION

FILE = click.Path(path_type=Path)
DIR = click.Path(path_type=Path, file_okay=False)


def _inherited(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A value given before the command's name holds too, unless it is given again after it."""
    if ctx.parent and ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.COMMANDLINE:
        return ctx.parent.params.get(param.name or "", value)
    return value


def each_load(seconds: float | None) -> click.Option:
    """`--duration`; the default is `seconds`, or None for each load's own."""
    text = "of each load of an app"
    return option("--duration", type=POSITIVE, default=seconds, metavar="SECONDS", help=text)


@dataclass
class Common:
    """The options of every command, anywhere on its line."""

    osv_root: Annotated[
        Path | None,
        option(
            "--osv-root", type=DIR, metavar="DIR", envvar="OSV_ROOT", callback=_inherited,
            help="an OSv checkout (default: OSV_ROOT); without one the kernel is linux",
        ),
    ]  # fmt: skip
    project: Annotated[
        Path | None,
        option(
            "--project", type=DIR, metavar="DIR", callback=_inherited,
            help="the folder with your own matrix.toml, expectations.toml, apps/ (default: the current one)",
        ),
    ]  # fmt: skip


_A_CELL = "a cell's name: qemu-rofs, osv:aarch64-qemu-rofs+hide_symbols"
CellName = Annotated[str, argument("cell", shell_complete=complete.cells, help=_A_CELL)]
CellNames = Annotated[
    tuple[str, ...], argument("cell", nargs=-1, required=True, shell_complete=complete.cells, help=_A_CELL)
]
TestNames = Annotated[
    tuple[str, ...],
    argument(
        "test", nargs=-1, shell_complete=complete.tests,
        help="a test's name or a pattern: tst-mmap.so, stress-ng-nop, 'tst-m*' (default: all)",
    ),
]  # fmt: skip
VariantNames = Annotated[
    tuple[str, ...],
    option(
        "--variant", multiple=True, metavar="NAME", shell_complete=complete.variants,
        help="of the machine: nvme (repeatable)",
    ),
]  # fmt: skip
LaunchModes = Annotated[
    tuple[str, ...],
    option(
        "--launch", multiple=True, metavar="MODE", shell_complete=complete.launches,
        help="how programs are linked and started (repeatable)",
    ),
]  # fmt: skip
HistoryUrl = Annotated[
    str | None,
    option(
        "--history", metavar="URL",
        help="a file, or postgresql://user@host/database (default: OSV_HARNESS_HISTORY, else a file of yours)",
    ),
]  # fmt: skip
RunsFolder = Annotated[
    Path, option("--runs", type=DIR, default=Path("runs"), metavar="DIR", help="where evidence is kept")
]
Forget = Annotated[bool, option("--forget", is_flag=True, help="keep nothing in the history")]
AsJson = Annotated[bool, option("--json", is_flag=True, help="print JSON, an object a line")]
LoadSeconds = Annotated[float, each_load(DURATION)]
SetName = Annotated[
    str | None, option("--set", metavar="NAME", shell_complete=complete.sets, help="the cells of a named set")
]
KernelName = Annotated[
    str | None,
    option(
        "--kernel", metavar="NAME", shell_complete=complete.kernels,
        help="linux or osv (default: osv where a checkout is named)",
    ),
]  # fmt: skip

LISTEN = option("--listen", default="127.0.0.1", metavar="ADDRESS", help="where others reach it")
