"""Boot a cell with its console on this terminal, running COMMAND if one is given; Ctrl-] ends it."""

import base64
import os
import shlex
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Annotated

from harness.cli import completion as complete
from harness.cli.declaration import CommandWords, declare, option
from harness.cli.kernel_files import KernelFiles, session_of
from harness.cli.number_types import COUNT
from harness.cli.options import CellName
from harness.cli.terminal import pass_through, raw_terminal
from harness.core.errors import HarnessError, HypervisorError
from harness.core.events import subscribed
from harness.core.machine import Image, Machine
from harness.core.variants import machine_profile_of
from harness.host.cache import Cache
from harness.kernels.symbols import Symbols
from harness.report.progress import Progress
from harness.runner.base import Program
from harness.runner.console.matcher import ConsoleMatcher
from harness.runner.guest import Guest
from harness.runner.linux.agent import Agent
from harness.runner.machine_setup import apply_profile
from harness.runner.osv.command_line import command_of
from harness.runner.osv.exit_tracer import ExitTracer
from harness.runner.osv.observed_run import status_of
from harness.runner.session import Session
from harness.vm.base import ExitCause, ExitStatus, Vm
from harness.vm.gdb_remote import GdbRemote
from harness.vm.gdb_socket import gdb_socket
from harness.vm.registry import hypervisor

EXIT_SECONDS = 30.0
"""How long the process may take to exit after it closed the console; seconds on a busy host."""

LONGEST_SCRIPT = 64 << 10
"""Bytes: half of the longest argument on Linux, because it is passed as base64."""


@dataclass
class Arguments(KernelFiles):
    """The cell and the size of its guest. The command follows ` -- ` (Linux: a shell if there is none)."""

    cell: CellName
    command: Annotated[tuple[str, ...], CommandWords("what it runs; Linux without any: a shell")]
    cpus: Annotated[int, option("--cpus", type=COUNT, default=1, metavar="N", help="of the guest")]
    memory: Annotated[int, option("--memory", type=COUNT, default=512, metavar="MIB", help="of the guest")]
    network: Annotated[bool, option("--network", is_flag=True, help="give it a network of its own")]
    variant: Annotated[
        str | None,
        option("--variant", metavar="NAME", shell_complete=complete.variants, help="of its machine: nvme"),
    ]
    gdb: Annotated[bool, option("--gdb", is_flag=True, help="wait for gdb on a private socket")]


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Boot it; returns when the guest has ended: the command's status, or 0 if there was none and it powered off.

    The kernel is asked to report its power-off (`--verbose`) where it powers off by a reset, because a triple
    fault is a reset too, and where only its console can tell a program's status.
    """
    session = session_of(arguments)
    variants = [arguments.variant] if arguments.variant else []
    (cell,) = session.matrix.vary([session.cell(arguments.cell)], variants)
    session.check_runs(cell)
    linux = cell.kernel == "linux"
    command = _shell_line(arguments.command) if linux else command_of(arguments.command)
    with subscribed(Progress()):
        image = session.image(cell)
    command = command or image.facts.get("own command", "")
    machine = _machine(arguments, session, image, command)
    vm = hypervisor(cell.hypervisor).start(machine)
    with ExitStack() as stack:
        guest = stack.enter_context(Guest(machine, vm))
        tracer = None if linux or arguments.gdb or not arguments.command else _tracer(vm, image, session.cache)
        if arguments.gdb and vm.debug:
            symbols = image.symbols or image.kernel
            path = stack.enter_context(gdb_socket(vm.debug))
            print(f"the guest waits for: gdb {symbols} -ex 'target remote {path}'", flush=True)
        elif tracer:
            tracer.start()
        else:
            vm.resume()
        agent = _run_when_ready(vm.control, command) if linux and vm.control else None
        stack.enter_context(raw_terminal())
        stopped = pass_through(guest, tracer)
        gave_up = bool(tracer and tracer.dead)
        exit_status = None if stopped or gave_up else vm.wait_for_exit(EXIT_SECONDS)
    guest.monitor.finish()
    if stopped:
        status, words = int(bool(arguments.command)), "you stopped it"
    elif gave_up:
        status, words = 1, "the kernel gave up"
    else:
        status, words = _conclusion(machine, exit_status, guest.monitor)
    if not status and not stopped and (arguments.command or (agent and not sys.stdin.isatty())):
        command_status = agent.exited.get("boot") if agent else _osv_status(command, guest.monitor, tracer)
        status = 1 if command_status is None else command_status & 0xFF or int(bool(command_status))
        words += "; the command's status " + (
            "is not known" if command_status is None else f"was {command_status}"
        )
    print(f"\nthe guest ended: {words}")
    return status


def _machine(arguments: Arguments, session: Session, image: Image, command: str) -> Machine:
    """The machine to boot; OSv's command is on its command line."""
    linux = image.cell.kernel == "linux"
    words = f"{image.cmdline} {machine_profile_of(image.cell).osv}".strip()
    cmdline = image.cmdline if linux else f"{words} {command}".strip()
    machine = Machine(
        image, cmdline, arguments.cpus, arguments.memory, session.accelerator(image.cell), arguments.network,
        control=linux,
    )  # fmt: skip
    machine = apply_profile(machine, "", session.cache)
    has_debug = image.cell.hypervisor.startswith("qemu") and image.symbols and not arguments.gdb
    if machine.powers_off_by_reset or (not linux and arguments.command and not has_debug):
        machine = replace(machine, cmdline=f"--verbose {machine.cmdline}")
    return machine


def _shell_line(words: Sequence[str]) -> str:
    """The line by which a shell of the guest runs exactly these words; without any, the text on standard input."""
    typed = sys.stdin.isatty()
    if words:
        line = shlex.join(words)
    elif typed:
        line = "sh -i"
    else:
        line = sys.stdin.read(LONGEST_SCRIPT + 1)
        if len(line) > LONGEST_SCRIPT:
            raise HarnessError(
                f"Standard input has more than {LONGEST_SCRIPT >> 10} KiB, and no shell takes so much at once.",
                "Bring a script along in an app's file, or type at a terminal.",
            )
        line = line.strip() or "true"
    if not (line.isascii() and line.isprintable()):  # a request is one line
        text = base64.b64encode(os.fsencode(line)).decode()
        line = f'eval "$(echo {text} | base64 -d)"'
    return f"{{ {line}; }} <&1" if typed else line


def _tracer(vm: Vm, image: Image, cache: Cache) -> ExitTracer | None:
    """Traces the command's status in the kernel; None if the guest can't be traced."""
    if vm.debug is None or image.symbols is None:
        return None
    try:
        return ExitTracer(GdbRemote(vm.debug, vm.pid), Symbols(image.symbols, cache), image.cell.arch)
    except HypervisorError:
        return None


def _osv_status(command: str, monitor: ConsoleMatcher, tracer: ExitTracer | None) -> int | None:
    """The command's status; None if it is unknown, or if kernel and console contradict each other."""
    found = status_of(Program("boot", command, 0.0), monitor, tracer)
    return None if found.contradiction else found.status


def _conclusion(machine: Machine, exit_status: ExitStatus | None, monitor: ConsoleMatcher) -> tuple[int, str]:
    """The exit status, 0 for a guest that powered off, and how it ended."""
    if exit_status is None:
        return 1, f"its console was closed, and its process still ran {EXIT_SECONDS:.0f} s later"
    if exit_status.cause is ExitCause.OFF_OR_HALTED:
        if monitor.first("powering_off"):
            return 0, exit_status.detail
        return 1, f"{exit_status.detail}, and the kernel had not said that it powers off"
    if exit_status.cause is not ExitCause.RESET or not machine.powers_off_by_reset:
        return (0 if exit_status.cause is ExitCause.POWERED_OFF else 1), exit_status.detail
    if monitor.first("powering_off"):
        return 0, f"{exit_status.detail}, which is how this kernel powers this machine off"
    return (
        1,
        f"{exit_status.detail}, and the kernel had not said that it powers off: a triple fault is a reset too",
    )


def _run_when_ready(line: socket.socket, command: str) -> Agent:
    """In the background, wait for the agent, run the command, and then power the guest off."""
    agent = Agent(line)

    def talk() -> None:
        while not agent.gone and "boot" not in agent.exited:
            was_ready = agent.ready
            agent.listen()
            if agent.ready and not was_ready:
                agent.run("boot", command)
        if not agent.gone:
            line.sendall(b"poweroff\n")

    threading.Thread(target=talk, daemon=True).start()
    return agent
