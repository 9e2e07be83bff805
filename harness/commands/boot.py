"""Boot a cell with its console on this terminal, running COMMAND if one is given; Ctrl-] ends it."""

import argparse
import os
import select
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from harness.commands._kernel_files import add_kernel_files, lab_of
from harness.console.monitor import Monitor
from harness.console.transcript import printable
from harness.events import subscribed
from harness.fitting import fitted
from harness.guest import Guest
from harness.hypervisors import Cause, Ending, hypervisor
from harness.hypervisors._gdb_socket import gdb_socket
from harness.machine import Machine
from harness.programs.linux_agent import Agent
from harness.report.progress import Progress
from harness.variants import fittings_of

QUIT = b"\x1d"
ENDING_SECONDS = 30.0
"""How long the process may take to be gone once it has closed the console; a busy host's takes seconds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The cell and how big its guest is; what it runs stands after ` -- ` (Linux: a shell if nothing does)."""
    parser.add_argument("cell", help="a cell's name: qemu-rofs")
    parser.usage = "osv-harness boot CELL [options] [-- COMMAND]"
    parser.set_defaults(command=[])
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    parser.add_argument("--network", action="store_true", help="give it a network of its own")
    parser.add_argument("--variant", metavar="NAME", help="of its machine: nvme")
    parser.add_argument("--gdb", action="store_true", help="wait for gdb on a private socket")
    add_kernel_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Boot it; returns when the guest has ended, 0 if it powered off.

    Where a reset is how the kernel powers off, the kernel is asked to say so first (`--verbose`), for a triple
    fault is a reset too.
    """
    lab = lab_of(arguments)
    (cell,) = lab.varied([lab.cell(arguments.cell)], [arguments.variant] if arguments.variant else [])
    lab.check_runs(cell)
    with subscribed(Progress()):
        image = lab.image(cell)
    linux = cell.kernel == "linux"
    command = " ".join(arguments.command) or image.facts.get("own command", "")
    words = f"{image.cmdline} {fittings_of(cell).osv}".strip()
    cmdline = image.cmdline if linux else f"{words} {command}".strip()
    machine = Machine(
        image, cmdline, arguments.cpus, arguments.memory, lab.accelerator(cell), arguments.network, control=linux
    )
    machine = fitted(machine, "", lab.cache)
    if machine.powers_off_by_reset:
        machine = replace(machine, cmdline=f"--verbose {machine.cmdline}")
    vm = hypervisor(cell.hypervisor).start(machine)
    with ExitStack() as stack:
        guest = stack.enter_context(Guest(machine, vm))
        if arguments.gdb and vm.debug:
            symbols = image.symbols or image.kernel
            path = stack.enter_context(gdb_socket(vm.debug))
            print(f"the guest waits for: gdb {symbols} -ex 'target remote {path}'", flush=True)
        else:
            vm.resume()
        if linux and vm.control:
            _run_when_ready(guest, vm.control, command or "sh -i <&1")
        stack.enter_context(_raw_terminal())
        stopped = _pass_through(guest)
        ending = None if stopped else vm.ending(ENDING_SECONDS)
    guest.monitor.finish()
    status, words = (0, "you stopped it") if stopped else _conclusion(machine, ending, guest.monitor)
    print(f"\nthe guest ended: {words}")
    return status


def _conclusion(machine: Machine, ending: Ending | None, monitor: Monitor) -> tuple[int, str]:
    """The exit status, 0 for a guest that powered off, and how it ended."""
    if ending is None:
        return 1, f"its console was closed, and its process still ran {ENDING_SECONDS:.0f} s later"
    if ending.cause is not Cause.RESET or not machine.powers_off_by_reset:
        return (0 if ending.cause is Cause.POWERED_OFF else 1), ending.detail
    if monitor.first("powering_off"):
        return 0, f"{ending.detail}, which is how this kernel powers this machine off"
    return 1, f"{ending.detail}, and the kernel had not said that it powers off: a triple fault is a reset too"


def _pass_through(guest: Guest) -> bool:
    """Console to terminal and keys to console, until the guest ends or Ctrl-] is pressed; whether it was.

    On a terminal the guest's bytes are passed as they come, as any serial terminal does, for the person
    asked to sit at it; into a pipe or a file go safe lines only.
    """
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    rest = b""
    while True:
        ready, _, _ = select.select([guest.vm.console, *([keys] if keys is not None else [])], [], [])
        if keys in ready:
            typed = os.read(sys.stdin.fileno(), 1024)
            if QUIT in typed:
                return True
            os.write(guest.vm.console.fileno(), typed)
        if guest.vm.console in ready:
            data = os.read(guest.vm.console.fileno(), 1 << 16)
            guest.monitor.feed(data)
            if sys.stdout.isatty():
                os.write(sys.stdout.fileno(), data)
            else:
                *lines, rest = (rest + data).split(b"\n")
                sys.stdout.writelines(printable(line) + "\n" for line in lines)
                sys.stdout.flush()
            if not data:
                return False


def _run_when_ready(guest: Guest, line: socket.socket, command: str) -> None:
    """Wait in the background for the agent, have it run the command, and then turn the guest off."""

    def talk() -> None:
        agent = Agent(line)
        while not agent.gone and "boot" not in agent.exited:
            was_ready = agent.ready
            agent.listen()
            if agent.ready and not was_ready:
                agent.run("boot", command)
        if not agent.gone:
            line.sendall(b"poweroff\n")

    threading.Thread(target=talk, daemon=True).start()


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys as they are pressed, restored whatever happens."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
