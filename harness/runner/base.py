"""The interface of runners: how a program is run in a guest of a kernel, and how its end is observed."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.core.text import printable
from harness.host.interference import Pause
from harness.kernels.source_lines import LoadedObject
from harness.runner.console.patterns import patterns_of
from harness.runner.console.transcript import Transcript
from harness.runner.interaction import Interaction
from harness.runner.observation import Observation
from harness.runner.verdict import Outcome, Verdict, judge
from harness.vm.base import Vcpu

TAIL_LINES = 40
SHOWN = 200  # letters of a program's own words
NOT_STARTED = "not started"
"""The origin of a run that never started."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program to run in a new guest.

    `command` is the command that the kernel runs. `limit` is in seconds on this accelerator, `memory` in MiB.
    `disk` is whether it needs a block device even if the image has none. `forwards` are guest ports. `nested` are
    regular expressions of the kernel's lines about programs that this one runs itself. `good_statuses` are those
    of a good end. `environment` are names and values. `prints` are regular expressions that the console of a good
    run must match; `denials` and `skips` are of lines by which the program says that it has failed, or that it
    can't run here, though its status is good. `boot_limit` is how long its kernel may take to start it, if less
    than usual. `ends_by` is the kernel's line about the program's death, if that death is what it tests. `variant`
    is the machine variant that it needs. One that `sleeps` does so for most of its time. A `deterministic` program
    runs in a machine in which every boot is the same (see `Machine`), on kernels that get it on their command
    line.
    """

    name: str
    command: str
    limit: float
    cpus: int = 1
    memory: int = 512
    network: bool = False
    disk: bool = False
    forwards: tuple[int, ...] = ()
    nested: tuple[str, ...] = ()
    ends_by: str = ""
    skip_statuses: tuple[int, ...] = ()
    good_statuses: tuple[int, ...] = (0,)
    environment: tuple[tuple[str, str], ...] = ()
    prints: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    slow_start: bool = False
    boot_limit: float = inf
    variant: str = ""
    sleeps: bool = False
    deterministic: bool = False
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One program's run: the verdict, and the evidence that is kept if it did not pass.

    `notes` are sentences about how the verdict was reached, for people, whatever the verdict. `first` is the
    earlier run that this one repeats, if there was one. `kernel_log` is the kernel's log, if it was read.
    `objects` are the files that the guest had loaded; `threads` describes what its threads did.
    """

    program: Program
    verdict: Verdict
    transcript: Transcript
    command: tuple[str, ...]
    origin: str
    registers: str = ""
    vcpus: tuple[Vcpu, ...] = ()
    notes: tuple[str, ...] = field(default=())
    first: "Run | None" = None
    kernel_log: str = ""
    objects: tuple[LoadedObject, ...] = ()
    threads: str = ""


class Runner(Protocol):
    """Runs programs in guests of one image, one guest each."""

    image: Image
    accelerator: str

    def prepare(self) -> None:
        """Make what all runs need and what takes long, so that workers find it."""
        ...

    def run(self, program: Program, interaction: Interaction | None = None) -> Run:
        """Run it to a verdict; after an interaction it is asked to end, in its kernel's way.

        An error of the harness or the host is a verdict too, never an exception.
        """
        ...


def unprinted(
    program: Program, transcript: Transcript, kernel: str, less: Callable[[bytes], bytes] = lambda console: console
) -> tuple[str, ...]:
    """The patterns of `program.prints` that the console does not match."""
    text = _printed(transcript, kernel, less) if program.prints else b""
    return tuple(wanted for wanted in program.prints if not re.search(wanted.encode(), text, re.MULTILINE))


def first_said(
    patterns: Sequence[str], transcript: Transcript, kernel: str,
    less: Callable[[bytes], bytes] = lambda console: console,
) -> str:  # fmt: skip
    """What the first of the program's lines that match a pattern says; empty if none does."""
    text = _printed(transcript, kernel, less) if patterns else b""
    found = (re.search(pattern.encode(), text, re.MULTILINE) for pattern in patterns)
    first = min((match for match in found if match), key=lambda match: match.start(), default=None)
    return printable(first[0])[:SHOWN] if first else ""


def _printed(transcript: Transcript, kernel: str, less: Callable[[bytes], bytes]) -> bytes:
    """The console without the kernel's messages, which may have torn a line; `less` removes the known ones."""
    text = less(bytes(transcript.raw)).replace(b"\r\n", b"\n")
    for noise in patterns_of(kernel).noise:
        text = noise.sub(b"", text)
    return text


def conclude(
    program: Program, seen: Observation, transcript: Transcript, command: tuple[str, ...], origin: str,
    registers: str = "", vcpus: tuple[Vcpu, ...] = (),
) -> Run:  # fmt: skip
    """The run, with its verdict."""
    outcome, reason = judge(seen)
    lines = () if outcome is Outcome.PASSED else tuple(transcript.tail(TAIL_LINES))
    verdict, notes = Verdict(outcome, reason, seen, lines), tuple(_pause_note(pause) for pause in seen.pauses)
    return Run(program, verdict, transcript, command, origin, registers, vcpus, notes)


def _pause_note(pause: Pause) -> str:
    return f"{pause.at:.0f} s after its start the host {pause.how} for {pause.seconds:.0f} s."


def failed_to_run(program: Program, error: str, transcript: Transcript, command: tuple[str, ...] = ()) -> Run:
    """A run that the harness or the host prevented."""
    seen = Observation(booted=False, harness_error=error, limit=program.limit)
    return conclude(replace(program), seen, transcript, command, NOT_STARTED)
