"""Run a command of the harness, or any other, in a VM whose KVM runs guests; without one, a shell in it."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import click

from harness.cli.command_names import COMMANDS
from harness.cli.declaration import CommandWords, declare, option
from harness.cli.lab_preparation import parse_lab_command
from harness.cli.number_types import COUNT
from harness.cli.options import Common
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.integrations.nested_kvm.debian_root import DEBIANS, SHELL
from harness.integrations.nested_kvm.debian_root import PYTHON as DEBIANS_PYTHON
from harness.integrations.nested_kvm.machine import BOARDS, GICS, Hardware
from harness.integrations.nested_kvm.session import MEMORY, check, default_memory
from harness.integrations.nested_kvm.session import run as run_in_lab
from harness.report.progress import Progress

LINE_COMMANDS = {*COMMANDS, "pytest"} - {"boot"}
"""Commands whose output is shown as safe lines; any other gets the terminal, if there is one."""

_MOST_CPUS = ", ".join(f"{board.most_cpus} on {arch}" for arch, board in BOARDS.items())


@dataclass
class Arguments(Common):
    """The size of the VM. The command follows ` -- `."""

    command: Annotated[tuple[str, ...], CommandWords("what runs in it; without any a shell")]
    arch: Annotated[
        str,
        option(
            "--arch", default="", metavar="ARCH",
            help="the arch of its KVM and its guests (default: that of the command's cells, else this host's)",
        ),
    ]  # fmt: skip
    cpus: Annotated[
        int | None,
        option(
            "--cpus", type=COUNT, metavar="N",
            help=f"(default: as this host has, at most {_MOST_CPUS})",
        ),
    ]  # fmt: skip
    memory: Annotated[
        int | None,
        option(
            "--memory", type=COUNT, metavar="MIB",
            help=f"(default: {MEMORY}, or what is free)",
        ),
    ]  # fmt: skip
    gic: Annotated[
        int,
        option(
            "--gic", type=click.Choice(GICS), default=GICS[0],
            help="the version of its interrupt controller, on aarch64",
        ),
    ]  # fmt: skip


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Run it; returns the command's status."""
    command = arguments.command
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not command and not at_terminal:
        raise HarnessError("No command is named, and a shell wants a terminal.", "osv-harness lab -- COMMAND")
    terminal = at_terminal and (not command or command[0] not in LINE_COMMANDS)
    hardware = Hardware(arguments.cpus or 0, arguments.memory or default_memory(), arguments.gic)
    return _run(command, arguments.arch, hardware, arguments.osv_root, terminal)


def run_pytest(pytest_args: Sequence[str], checkout: Path | None) -> int:
    """Run pytest with these arguments in a lab of its cells' arch; returns its status. Raises what `run`
    raises."""
    named = os.environ.get("OSV_ROOT")
    checkout = checkout or (Path(named) if named else None)
    return _run(["pytest", *pytest_args], "", Hardware(0, default_memory()), checkout)


def _run(
    command: Sequence[str], arch_option: str, hardware: Hardware, checkout: Path | None, terminal: bool = False
) -> int:
    checkout = checkout and checkout.absolute()
    if arch_option:
        check(arch_option, hardware)
    lab_command = parse_lab_command(command, checkout, arch_option or None)
    arch = lab_command.arch(arch_option)
    check(arch, hardware)
    if not hardware.cpus:
        hardware = replace(hardware, cpus=min(BOARDS[arch].most_cpus, len(os.sched_getaffinity(0))))
    with subscribed(Progress()):
        sound = lab_command.prepare()
        return run_in_lab(lab_arguments(command, arch), arch, hardware, checkout, terminal, sound)


def lab_arguments(command: Sequence[str], arch: str) -> list[str]:
    """The command line in the lab: the harness's own commands start with the lab's Python."""
    of_debian = arch in DEBIANS
    python = DEBIANS_PYTHON if of_debian else sys.executable
    if not command:
        return [SHELL if of_debian else shutil.which("bash") or "/bin/sh", "-i"]
    if command[0] == "pytest" and of_debian:
        return [python, "-m", *command]
    if command[0] == "osv-harness":
        command = command[1:]
    elif command[0] not in COMMANDS:
        return list(command)
    return [python, "-c", "from harness.cli import main; raise SystemExit(main())", *command]
