"""Find what this host can do by doing it, and install what it lacks."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import click
from rich.markup import escape

from harness.cli import completion as complete
from harness.cli.declaration import declare, option
from harness.cli.options import Common
from harness.cli.output import screen, table
from harness.core.errors import HostError
from harness.core.events import Event, subscribed
from harness.core.suggestions import did_you_mean
from harness.host.host import ARCHES, Host
from harness.host.install import BY_NAME_ONLY, install, install_what_can_be, missing_packages
from harness.host.requirements import Capability

REQUIRED, ALL = "required", "all"


@dataclass
class Arguments(Common):
    """What to check on this host, and what to install."""

    install: Annotated[
        str | None,
        option(
            "--install", is_flag=False, flag_value=REQUIRED, metavar="[all|NAME]",
            shell_complete=complete.installs,
            help="install by apt what is missing and required; `all`: whatever else can be had; or one by name",
        ),
    ]  # fmt: skip
    own_tests: Annotated[
        bool, option("--own-tests", is_flag=True, help="require what the harness's own tests want too")
    ]
    again: Annotated[
        bool, option("--again", is_flag=True, help="run the tiny guests anew, whatever was proved")
    ]
    quiet: Annotated[
        bool, option("--quiet", is_flag=True, help="say nothing if nothing that is required is lacking")
    ]
    format: Annotated[
        str,
        option("--format", type=click.Choice(["table", "json"]), default="table", help="for people or programs"),
    ]


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Show the capabilities; returns 1 if a required one is missing (with an OSv checkout also those of its
    build)."""
    kernels = ("linux", "osv") if arguments.osv_root else ("linux",)
    kinds = (*kernels, "tests") if arguments.own_tests else kernels
    host = Host()
    if arguments.again:
        _prove_again(host)
    found = host.capabilities(kinds)
    if arguments.install and (left_out := _install(arguments.install, found)) is not None:
        host = Host()
        found = host.capabilities(kinds)
        for name, reason in left_out.items():
            screen().print(f"not installed: {name}: {reason}", markup=False)
    missing = [row for row in found if row.required and not row.present]
    if arguments.format == "json":
        print(json.dumps([_plain(row) for row in found], indent=1))
    elif missing or not arguments.quiet:
        _show(found, missing, kernels)
    return 1 if missing else 0


def _install(which: str, found: list[Capability]) -> dict[str, str] | None:
    """Install what was asked for. Returns what was left out, and why; None if there was nothing to install."""
    if which == REQUIRED:
        packages = missing_packages(found)
        with subscribed(_print_event):
            install(packages) if packages else None
        return {} if packages else None
    names = [row.name for row in found]
    if which not in (ALL, *names):
        raise HostError(f"There is no capability {which!r}.", did_you_mean(which, [ALL, *names]))
    rows = [row for row in found if not row.present and (row.name == which or (which == ALL and row.packages))]
    by_name = [row.name for row in rows if row.name in BY_NAME_ONLY and which == ALL]
    not_installed = {name: f"say so: --install {name}" for name in by_name}
    rows = [row for row in rows if row.name not in not_installed]
    if not rows:
        return not_installed
    with subscribed(_print_event):
        return install_what_can_be(rows) | not_installed


def _prove_again(host: Host) -> None:
    for arch in ARCHES:
        for accelerator in ("tcg", "kvm"):
            try:
                if accelerator in host.qemu(arch).accelerators:
                    host.probe(arch, accelerator, again=True)
            except HostError:
                continue  # the table says what is wrong with this QEMU


def _show(found: list[Capability], missing: list[Capability], kernels: tuple[str, ...]) -> None:
    rows = table("", "what", "found", "good for", "how to get it")
    for row in found:
        mark = "[green]ok[/]" if row.present else "[bold red]lacking[/]" if row.required else "[dim]none[/]"
        rows.add_row(mark, *(escape(text) for text in (row.what, row.found, row.good_for, row.how_to_get)))
    screen().print(rows)
    cells = f"Cells of {' and '.join(kernels)}"
    if missing:
        here = any(row.packages for row in missing)
        how = "`osv-harness doctor --install`" if here else "the last column says how to get it"
        screen().print(f"\n{cells} lack {', '.join(row.name for row in missing)}: {how}.")
    else:
        screen().print(f"\n{cells} have all they need.")


def _plain(row: Capability) -> dict[str, object]:
    return asdict(row) | {"required_for": sorted(row.required_for), "how_to_get": row.how_to_get}


def _print_event(event: Event) -> None:
    detail = f": {event.detail}" if event.detail else ""
    screen().print(f"{event.kind}: {event.about}{detail}", markup=False)
