"""Find what this host can do by doing it, and install what it lacks."""

import argparse
import json
from dataclasses import asdict

from rich.markup import escape

from harness.commands._screen import screen, table
from harness.errors import HostError
from harness.events import Event, subscribed
from harness.host import ARCHES, Host
from harness.host.install import install, missing_packages
from harness.host.needs import Capability


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--install [all]`, `--own-tests`, `--again`, `--quiet`, `--format`."""
    parser.add_argument(
        "--install", nargs="?", const="required", choices=["required", "all"], metavar="all",
        help="install what is missing and required through apt; with `all`, what is optional too",
    )  # fmt: skip
    parser.add_argument("--own-tests", action="store_true", help="require what the harness's own tests want too")
    parser.add_argument("--again", action="store_true", help="run the tiny guests anew, whatever was proved")
    parser.add_argument("--quiet", action="store_true", help="say nothing if nothing that is required is lacking")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(arguments: argparse.Namespace) -> int:
    """Show the capabilities; 1 if one that is required is lacking, with an OSv checkout those of its build too."""
    kernels = ("linux", "osv") if arguments.osv_root else ("linux",)
    asked = (*kernels, "tests") if arguments.own_tests else kernels
    host = Host()
    if arguments.again:
        _prove_again(host)
    found = host.capabilities(asked)
    if arguments.install and (packages := missing_packages(found, arguments.install == "all")):
        with subscribed(_say):
            install(packages)
        host = Host()
        found = host.capabilities(asked)
    lacking = [row for row in found if row.required and not row.present]
    if arguments.format == "json":
        print(json.dumps([_plain(row) for row in found], indent=1))
    elif lacking or not arguments.quiet:
        _show(found, lacking, kernels)
    return 1 if lacking else 0


def _prove_again(host: Host) -> None:
    for arch in ARCHES:
        for accelerator in ("tcg", "kvm"):
            try:
                if accelerator in host.qemu(arch).accelerators:
                    host.proof(arch, accelerator, again=True)
            except HostError:
                continue  # the table says what is wrong with this QEMU


def _show(found: list[Capability], lacking: list[Capability], kernels: tuple[str, ...]) -> None:
    rows = table("", "what", "found", "good for", "how to get it")
    for row in found:
        mark = "[green]ok[/]" if row.present else "[bold red]lacking[/]" if row.required else "[dim]none[/]"
        rows.add_row(mark, *(escape(text) for text in (row.what, row.found, row.good_for, row.how_to_get)))
    screen().print(rows)
    cells = f"Cells of {' and '.join(kernels)}"
    if lacking:
        screen().print(f"\n{cells} lack {', '.join(row.name for row in lacking)}: `osv-harness doctor --install`.")
    else:
        screen().print(f"\n{cells} have all they need.")


def _plain(row: Capability) -> dict[str, object]:
    return asdict(row) | {"required_for": sorted(row.required_for), "how_to_get": row.how_to_get}


def _say(event: Event) -> None:
    screen().print(f"{event.kind}: {event.about}")
