"""The guests that are compared: bare QEMU, booted by the harness, forked by the harness."""

import subprocess
from dataclasses import replace

from harness.core.cell import Cell
from harness.core.machine import Machine
from harness.runner.base import Program, Run, Runner
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import Hypervisor, Vm
from harness.vm.qemu.command_line import Wires, board_for, command_line
from harness.vm.registry import hypervisor

HELLO = {"osv": "/tests/tst-hello.so", "linux": "echo Hello"}
BOARDS = {"x86_64": "q35", "aarch64": "virt"}


class BootsOnly:
    """A hypervisor without its power to fork."""

    def __init__(self, driver: Hypervisor) -> None:
        self.name = driver.name
        self._driver = driver

    def start(self, machine: Machine) -> Vm:
        return self._driver.start(machine)


def hello(cell: Cell) -> Program:
    """A program that says Hello and ends."""
    return Program("hello", HELLO[cell.kernel], limit=240)


def runners(session: Session, cell: Cell) -> tuple[Runner, Runner]:
    """What boots the cell's guests, and what forks them."""
    image, accelerator, driver = session.image(cell), session.accelerator(cell), hypervisor(cell.hypervisor)
    if cell.kernel == "osv":
        booting = OsvRunner(image, driver, accelerator, session.cache)
        return booting, OsvRunner(image, driver, accelerator, session.cache, fork=True)
    booting_linux = LinuxRunner(image, BootsOnly(driver), accelerator, session.cache, 4)
    return booting_linux, LinuxRunner(image, driver, accelerator, session.cache, 4)


def machine(session: Session, cell: Cell, program: Program) -> Machine:
    """The machine that runs a program with nobody to watch it, and ends."""
    runner = runners(session, cell)[0]
    assert isinstance(runner, OsvRunner | LinuxRunner)
    made = runner.machine(program)
    if cell.kernel == "osv":
        return made
    return replace(made, cmdline=f"{made.cmdline} -- {program.command}", control=False)


def bare_command(session: Session, made: Machine) -> list[str]:
    """The machine as the QEMU command line that a person would type: no control, no debug stub, no stop."""
    arch = made.image.cell.arch
    line = command_line(
        str(session.host.qemu(arch).path), board_for(made, BOARDS), made, Wires(-1, -1, -1, -1), None
    )
    line = line[: line.index("-chardev")]
    line.remove("-S")
    return [*line, "-serial", "stdio"]


def run_bare(command: list[str], limit: float) -> str:
    """Run it to its end and return its console; what has come by then if it does not end."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
        return done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode("utf-8", "replace")


def passed(run: Run) -> Run:
    """The run, if it passed."""
    if run.verdict.outcome is not Outcome.PASSED:
        raise SystemExit(f"{run.program.name}: {run.verdict.outcome}: {run.verdict.reason}")
    return run
