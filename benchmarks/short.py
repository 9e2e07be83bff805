"""The benchmarks that take seconds: cost of a guest, a second build, a fork against a boot, the console."""

import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, process_time

from pexpect import EOF

from benchmarks import guests
from benchmarks.timing import cost, in_turns, print_table
from harness.runner.base import Runner
from harness.runner.console.matcher import ConsoleMatcher
from harness.runner.console.patterns import patterns_of
from harness.runner.console.serial import SerialConsole
from harness.runner.console.transcript import Transcript
from harness.runner.session import Session


def overhead(session: Session, cell_name: str, rounds: int) -> None:
    """(b) The whole cost of one guest, from the first call to its verdict, against bare QEMU."""
    cell = session.cell(cell_name)
    program = guests.hello(cell)
    bare = guests.bare_command(session, guests.machine(session, cell, program))
    booting, forking = guests.runners(session, cell)

    def run_bare() -> None:
        if "Hello" not in guests.run_bare(bare, 240):
            raise SystemExit(f"The bare guest said no Hello: {' '.join(bare)}")

    print_table(
        in_turns(
            {
                "bare QEMU, booted": run_bare,
                "harness, booted": lambda: guests.passed(booting.run(program)),
                "harness, forked": lambda: guests.passed(forking.run(program)),
            },
            rounds,
        )
    )


def rebuild(session: Session, cell_name: str, rounds: int) -> None:
    """(c) `osv-harness build` of what is built already, as a process of its own."""
    command = [str(Path(sys.executable).with_name("osv-harness")), "build", cell_name]
    if session.osv_root:
        command += ["--osv-root", str(session.osv_root)]

    def build() -> None:
        subprocess.run(command, check=True, capture_output=True)

    print_table(in_turns({"second build": build}, rounds))


def fork(session: Session, cell_name: str, rounds: int) -> None:
    """(d) From the first call to the first command's answer on the console."""
    cell = session.cell(cell_name)
    program = guests.hello(cell)
    runners = dict(zip(("boot", "fork"), guests.runners(session, cell), strict=True))
    answers: dict[str, list[float]] = {name: [] for name in runners}

    def answer(name: str, runner: Runner) -> None:
        transcript = guests.passed(runner.run(program)).transcript
        answers[name].append(transcript.time_of(transcript.raw.rindex(b"Hello")))

    costs = in_turns({name: lambda n=name, r=runner: answer(n, r) for name, runner in runners.items()}, rounds)  # type: ignore[misc]
    base = median(answers["boot"][1:])
    print("| what | rounds | first answer ms (least) | of a boot |")
    print("|---|---|---|---|")
    for name, (_, *seconds) in answers.items():
        print(
            f"| {name} | {len(seconds)} | {median(seconds) * 1e3:.0f} ({min(seconds) * 1e3:.0f}) "
            f"| {median(seconds) / base:.2f} |"
        )
    print("\nTo the verdict:\n")
    print_table(costs)


def console(rounds: int, size: int = 32 << 20) -> None:
    """(e) MB/s from a socket through the console, the transcript and OSv's patterns; one line in 500 matches."""
    dice = random.Random(1)
    words = ["vfs", "net", "eth0", "page", "fault", "mutex", "wake", "0x000000004030c510", "returned", "ok"]
    lines = [" ".join(dice.choices(words, k=dice.randrange(3, 14))) for _ in range(5000)]
    lines[::500] = ["program /tests/tst-x.so returned 1"] * 10
    text = ("\r\n".join(lines) + "\r\n").encode()
    kinds = {
        "lines of text": text,
        "random bytes": dice.randbytes(1 << 20),
        "one line without end": text.replace(b"\n", b" "),
    }
    print("| console | MB | wall MB/s (most) | cpu MB/s (most) |")
    print("|---|---|---|---|")
    for name, block in kinds.items():
        with tempfile.NamedTemporaryFile() as file:
            file.write(block * (size // len(block)))
            file.flush()
            speeds = [_throughput(file.name) for _ in range(rounds)]
        walls, cpus = zip(*speeds, strict=True)
        print(
            f"| {name} | {size / 1e6:.0f} | {median(walls):.0f} ({max(walls):.0f}) "
            f"| {median(cpus):.0f} ({max(cpus):.0f}) |"
        )


def _throughput(path: str) -> tuple[float, float]:
    """MB/s by the clock and by this process's cpu time."""
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(["cat", path], stdout=theirs.fileno()):
        theirs.close()
        transcript = Transcript(monotonic())
        reader = SerialConsole(ours, transcript, ConsoleMatcher(patterns_of("osv")))
        cpu = process_time()

        def read() -> None:
            try:
                while True:
                    reader.read_nonblocking(timeout=60)
            except EOF:
                reader.monitor.finish()

        wall = cost(read).wall
        size = len(transcript.raw) / 1e6
        return size / wall, size / (process_time() - cpu)
