"""(a) All tests of one OSv image: upstream's runner, a loop of bare guests, and this harness."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks import guests
from harness.core.errors import HarnessError
from harness.runner.base import Program
from harness.runner.session import Session

UPSTREAM_LIMIT = 600.0  # seconds; longer than any test takes under software emulation

WITHOUT = ["-p", "no:schemathesis", "-p", "no:hypothesispytest"]
"""Plugins that the cells' environments in tox.ini leave out."""


def upstream(session: Session, cell_name: str, tree: Path) -> None:
    """The tree's own scripts/test.py, one test at a time; the tree holds its built image of the same tests.

    QEMU is told by run.py's `-p none` to emulate. What it refuses to run counts for nothing.
    """
    names = [program.name for program in session.programs(session.cell(cell_name))]
    began = monotonic()
    failed = []
    for name in names:
        command = ["scripts/test.py", "-p", "qemu", "--run_options=-p none", "-n", name.replace(".", "[.]")]
        try:
            done = subprocess.run(command, cwd=tree, capture_output=True, timeout=UPSTREAM_LIMIT)
            if b"usage:" in done.stderr:
                raise HarnessError(
                    f"{' '.join(command)} was refused: {done.stderr.decode(errors='replace').strip()}"
                )
            if done.returncode:
                failed.append(name)
        except subprocess.TimeoutExpired:
            failed.append(f"{name} (still running after {UPSTREAM_LIMIT:.0f} s)")
    print(f"upstream's scripts/test.py, {len(names)} tests: {monotonic() - began:.0f} s; failed: {failed}")


def bare(session: Session, cell_name: str) -> None:
    """As many bare guests at a time as the host has cpus, longest first, and what they compute."""
    cell = session.cell(cell_name)
    image = session.image(cell)
    # A guest that dies would otherwise stand until its limit.
    dying = replace(image, cmdline=f"{image.cmdline} --power-off-on-abort")

    def run(program: Program) -> None:
        made = guests.machine(session, cell, program)
        made = replace(made, cmdline=made.cmdline.replace(image.cmdline, dying.cmdline, 1))
        guests.run_bare(guests.bare_command(session, made), program.limit)

    before = _children_cpu()
    wall = _each(session, cell_name, run)
    computed = _children_cpu() - before
    cpus = len(os.sched_getaffinity(0))
    bound = f"they compute {computed:.0f} s, on {cpus} cpus {computed / cpus:.0f} s"
    print(f"bare guests, {cpus} at a time: {wall:.0f} s; {bound}")


def harness(session: Session, cell_name: str) -> None:
    """What `tox -e CELL` runs, but for what is no in-guest test, from its start to its end."""
    _by_pytest("booted", session, cell_name)


def forked(session: Session, cell_name: str) -> None:
    """The same with forked guests."""
    _by_pytest("forked", session, cell_name, "--fork")


def _by_pytest(name: str, session: Session, cell_name: str, *options: str) -> None:
    before, began = _children_cpu(), monotonic()
    command = [sys.executable, "-m", "pytest", *WITHOUT, "tests/unit/test_guest.py", "--cell", cell_name]
    command += ["--osv-root", str(session.osv_root), "-n", "auto", "-q", *options]
    with TemporaryDirectory() as folder:
        command += ["--runs", folder, "--history", f"{folder}/history.sqlite"]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    wall, cpu = monotonic() - began, _children_cpu() - before
    *rest, last = done.stdout.strip().splitlines() or [f"status {done.returncode}"]
    failed = [line for line in rest if line.startswith(("FAILED", "ERROR"))]
    print(f"harness, {name}: {wall:.0f} s, cpu {cpu:.0f} s; {last} {failed or ''}", flush=True)


def _each(session: Session, cell_name: str, run: Callable[[Program], None]) -> float:
    """Seconds for all programs, each when the host has room for its vCPUs."""
    cell = session.cell(cell_name)

    def take_turn(program: Program) -> None:
        with session.cpu_slots(program.cpus):
            run(program)

    programs = [program for _, program in session.longest_first([cell])]
    began = monotonic()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(take_turn, programs))
    return monotonic() - began


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
