"""A guest of OSv that dies, hangs or spins leads to the line of its program, and to all of its threads."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder

from harness.core.machine import Machine
from harness.kernels.prebuilt.kernel import ALREADY_BUILT
from harness.report import evidence
from harness.runner.base import Program, Run
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv import threads as osv_threads
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import Vm
from harness.vm.registry import hypervisor

FAULTS = "/tmp/faults/fault.so"
SOURCE = Path(__file__).parents[1] / "data/guest_programs" / "fault.c"
HANG, ENOUGH = 3.0, 60.0
WITH_GDB = pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb is installed")

Faults = Callable[[str], Recorder]


def line_of(text: str) -> int:
    """The line of the fault program's source with that text, which is on one line."""
    (found,) = (number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line)
    return found


def run(runner: Recorder, words: str, limit: float = ENOUGH, cpus: int = 1) -> Run:
    """One guest of the fault program."""
    name = words.replace(" ", "-")
    return runner.run(Program(name, f"{FAULTS} {words}", limit, cpus))


def kept(done: Run, runner: Recorder, folder: Path) -> Path:
    """The folder with the run's evidence."""
    return evidence.write(done, runner.image, runner.accelerator, folder, "again")


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("words", "says", "text"),
    [
        ("abort", "abort: Aborted (reached from run (", 'KIND("abort") abort();'),
        ("assert", "reached from run (", "assert(number == 42);"),
        ("segv", "page fault at address 0x8, in run (", 'KIND("segv")'),
        ("call-null", "a call of address 0x0 in run (", 'KIND("call-null")'),
        ("illegal", "exception: ", 'KIND("illegal")'),
        ("kernel-page-fault", "page fault at address 0x8, in memset", ""),
    ],
)
def test_a_death_leads_to_the_line(
    osv_with_faults: Faults, arch: str, words: str, says: str, text: str, tmp_path: Path
) -> None:
    runner = osv_with_faults(arch)
    done = run(runner, words)
    assert done.verdict.outcome is Outcome.CRASHED
    assert says in done.verdict.reason
    assert [one.path for one in done.objects] == [FAULTS]
    backtrace = (kept(done, runner, tmp_path) / "backtrace.txt").read_text()
    assert f"/fault.c:{line_of(text)})" in backtrace if text else "memset" in backtrace


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_where_vcpus_stand_is_said(osv_with_faults: Faults, arch: str, tmp_path: Path) -> None:
    runner = osv_with_faults(arch)
    done = run(runner, "spin", HANG, cpus=2)
    assert done.verdict.outcome in (Outcome.HUNG, Outcome.TIMED_OUT)
    vcpus = json.loads((kept(done, runner, tmp_path) / "verdict.json").read_text())["vcpus"]
    spinning = line_of('__asm__ volatile("");')  # or the loop around it
    lines = {f"spin ({SOURCE}:{line})" for line in (spinning - 1, spinning)}
    # Emulation takes an interrupt that is due as it stops.
    entered = ("exception_vectors", "entry_", "interrupt")
    assert sum(vcpu["at"] in lines or vcpu["at"].startswith(entered) for vcpu in vcpus) == 1, vcpus
    assert all(re.fullmatch(r".+ \(\S+:\d+\)", vcpu["at"]) for vcpu in vcpus), vcpus


def threads_of(done: Run) -> dict[str, str]:
    """Each thread's lines by the first of them."""
    parts = done.threads.split("\n\n")
    return {part.splitlines()[0]: part for part in parts if part.startswith("thread ")}


@WITH_GDB
@pytest.mark.parametrize("cpus", [1, 2])
def test_all_threads_of_a_hang(osv_with_faults: Faults, cpus: int, tmp_path: Path) -> None:
    """Who waits for whom, where, in the kernel and in the program; the guest ran, and was stopped to be asked."""
    runner = osv_with_faults("x86_64")
    done = run(runner, "hang-on-mutex", HANG, cpus)
    assert done.verdict.outcome is Outcome.HUNG
    threads = threads_of(done)
    count = re.match(r"(\d+) threads\n", done.threads)
    assert count and int(count[1]) == len(threads) > 20
    main, holder, *others = threads
    assert re.fullmatch(
        r"thread \d+ '/tmp/faults/fau', waiting, cpu \d, in pthread_mutex_lock \(libc/pthread.cc:\d+\), "
        r"for a mutex that thread \d+ '>/tmp/faults/fa' holds", main
    )  # fmt: skip
    assert re.match(r"thread \d+ '>/tmp/faults/fa', waiting, cpu \d, in pause \(", holder)
    locks = line_of("start(take_and_keep); pthread_mutex_lock(&taken)")
    assert f"  run (fault.c:{locks})\n" in threads[main] and "  main (fault.c:" in threads[main]
    assert "  do_nothing_for_ever (fault.c:" in threads[holder]
    assert sum("'idle" in first for first in others) == cpus
    assert "until " in next(first for first in others if "'balancer0'" in first)
    assert (kept(done, runner, tmp_path) / "threads.txt").read_text() == done.threads


@WITH_GDB
@pytest.mark.parametrize("words", ["spin", "segv"])
def test_the_running_thread_is_where_it_runs(osv_with_faults: Faults, words: str) -> None:
    """Also on the stack of an exception, through which the backtrace goes into the program."""
    done = run(osv_with_faults("x86_64"), words, HANG)
    first, lines = next(iter(threads_of(done).items()))
    assert ", running, cpu 0" in first
    assert "  main (fault.c:" in lines
    assert ("  ex_pf (" in lines) == (words == "segv")


@WITH_GDB
def test_the_last_tracepoints(osv_with_faults: Faults) -> None:
    runner = osv_with_faults("x86_64")
    image = replace(runner.image, cmdline=f"--trace=sched_wait,sched_wake {runner.image.cmdline}")
    traced = Recorder(image, hypervisor("qemu"), runner.accelerator, runner._cache)
    told = run(traced, "idle", HANG).threads
    assert re.search(r"^The last \d+ tracepoints:$", told, re.MULTILINE)
    assert re.search(r" sched_wait +$", told, re.MULTILINE), told[-2000:]


def test_without_gdb_the_rest_is_there(
    osv_with_faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = osv_with_faults("x86_64")
    for path in map(Path, ("/usr/bin", "/usr/sbin")):
        for program in path.iterdir():
            if not program.name.startswith("gdb") and not (link := tmp_path / program.name).exists():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run(runner, "segv")
    assert done.threads == "Threads are not known: gdb is not installed.\n"
    assert f"in run ({SOURCE}:" in done.verdict.reason


def test_without_scripts_or_time_the_evidence_says_so(
    osv_with_faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = osv_with_faults("x86_64")
    assert runner.image.symbols
    alone = shutil.copyfile(runner.image.symbols, tmp_path / "loader.elf")
    image = replace(runner.image, symbols=alone)
    done = run(Recorder(image, hypervisor("qemu"), runner.accelerator, runner._cache), "abort")
    assert done.threads == "Threads are not known: OSv's scripts for gdb are not beside the kernel's symbols.\n"
    if shutil.which("gdb"):
        monkeypatch.setattr(osv_threads, "LONGEST_SECONDS", 0.2)
        assert "gdb was ended, for it took too long" in run(runner, "abort").threads
        left = subprocess.run(["pgrep", "-P", str(os.getpid()), "gdb"], capture_output=True, text=True)
        assert left.stdout == ""


class Standing:
    """A hypervisor whose guests are never let run."""

    name = "qemu"

    def start(self, machine: Machine) -> Vm:
        vm: Any = hypervisor("qemu").start(machine)
        vm.resume = lambda: None
        started: Vm = vm
        return started


def test_a_boot_that_is_late_names_its_own_limit(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    runner = LinuxRunner(
        session.image(cell), Standing(), session.accelerator(cell), session.cache, boot_scale=1, fork=False
    )
    done = runner.run(Program("stands", "true", limit=77, boot_limit=2))
    assert done.verdict.outcome is Outcome.BOOT_FAILED
    assert done.verdict.reason == (
        "the kernel never started the program: it was idle when the limit of 2 s was reached"
    )


def test_scripts_that_others_have_built_are_not_run(osv_with_faults: Faults, tmp_path: Path) -> None:
    """They would run on the host, outside of the guest, whatever they are."""
    runner = osv_with_faults("x86_64")
    assert runner.image.symbols
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "loader.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    symbols = shutil.copyfile(runner.image.symbols, tmp_path / "loader.elf")
    image = replace(runner.image, symbols=symbols, facts={"files": ALREADY_BUILT})
    done = run(Recorder(image, hypervisor("qemu"), runner.accelerator, runner._cache), "abort")
    assert "only run from a checkout that is built here" in done.threads
    assert not (tmp_path / "ran").exists()


def test_a_program_that_failed_is_not_waited_for_until_its_limit(
    osv_with_faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OSv does not end while one of its threads spins."""
    monkeypatch.setattr("harness.runner.osv.runner.ENDING_SECONDS", 2.0)
    limit = 3600.0
    done = run(osv_with_faults("x86_64"), "exit-beside-spin 3", limit)
    assert (done.verdict.outcome, done.verdict.reason) == (Outcome.FAILED, "the program ended with status 3")
    assert not done.verdict.observation.console_closed and done.verdict.observation.seconds < limit
