"""Run a command of the harness, or any other, in a VM whose KVM runs guests; without one, a shell in it."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.commands import COMMANDS
from harness.commands._prepared import prepared
from harness.errors import HarnessError
from harness.events import subscribed
from harness.matrix import host_arch
from harness.nested_kvm.machine import Hardware
from harness.nested_kvm.session import MEMORY, check
from harness.nested_kvm.session import run as run_in_lab
from harness.report.progress import Progress

HEARD = {*COMMANDS, "pytest"} - {"boot"}
"""Commands of which lines are shown, safely; any other has the terminal to itself, if there is one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How big the VM is; what it runs stands after ` -- `."""
    parser.usage = "osv-harness lab [options] [-- COMMAND]"
    parser.set_defaults(command=[])
    parser.add_argument("--arch", default="", help="the arch of its KVM and its guests (default: this host's)")
    parser.add_argument("--cpus", type=int, default=0, metavar="N", help="(default: as this host has, up to 4)")
    parser.add_argument("--memory", type=int, default=MEMORY, metavar="MIB", help=f"(default: {MEMORY})")


def run(arguments: argparse.Namespace) -> int:
    """Run it; ends with the command's status."""
    command = list(arguments.command)
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not command and not at_terminal:
        raise HarnessError("No command is named, and a shell wants a terminal.", "osv-harness lab -- COMMAND")
    terminal = at_terminal and (not command or command[0] not in HEARD)
    hardware = Hardware(arguments.cpus or min(4, len(os.sched_getaffinity(0))), arguments.memory)
    checkout = arguments.osv_root and Path(arguments.osv_root).absolute()
    arch = arguments.arch or host_arch()
    check(arch, hardware)
    with subscribed(Progress()):
        sound = prepared(command, checkout)
        return run_in_lab(words_of(command), arch, hardware, checkout, terminal, sound)


def words_of(command: Sequence[str]) -> list[str]:
    """The words that run it: those of the harness's own commands begin with this Python."""
    if not command:
        return [shutil.which("bash") or "/bin/sh", "-i"]
    if command[0] == "osv-harness":
        command = command[1:]
    elif command[0] not in COMMANDS:
        return list(command)
    return [sys.executable, "-c", "from harness.cli import main; raise SystemExit(main())", *command]
