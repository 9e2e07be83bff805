"""How a program is run in a guest of a kernel, and how its end is learnt: one module a kernel."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from harness.core.machine import Image
from harness.core.schedule import IN_ORDER, Schedule
from harness.host.interference import Pause
from harness.kernels.source_lines import LoadedObject
from harness.runner.console.patterns import patterns_of
from harness.runner.console.transcript import Transcript
from harness.runner.interaction import Interaction
from harness.runner.observation import Observation
from harness.runner.verdict import Outcome, Verdict, judge
from harness.vm.base import Vcpu

TAIL_LINES = 40
NOT_STARTED = "not started"
"""How a run came to be that never did."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program to run in a guest of its own.

    `command` is what the kernel is told to run; `limit` is in seconds on this accelerator; `memory` is in
    MiB; `disk` is whether it wants a block device even where the image has none; `forwards` are guest ports;
    `nested` are regular expressions of the kernel's lines about programs that this one runs itself;
    `good_statuses` are those of a good end; `environment` are names and values; `prints` are regular expressions
    that a good run shows on the console; `boot_limit` is how long its kernel may take to start it, where that is
    less than kernels are given; `ends_by` is the kernel's line about the program's death where that death
    is what it tests; `variant` is that of a machine with the devices that it wants; a `counted` one runs in a
    machine in which every boot is the same (see `Machine`), on kernels that are told it by their command line.
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
    slow_start: bool = False
    boot_limit: float = inf
    variant: str = ""
    counted: bool = False
    schedule: Schedule = IN_ORDER


@dataclass(frozen=True, slots=True)
class Run:
    """One program's run: the verdict, and the evidence that goes into its folder when it is not a pass.

    `notes` are sentences about how the verdict was reached that a person is to see whatever it is; `first` is the
    run in whose place this one was taken, where that was one; `kernel_log` is what the kernel said, where its log
    was read. `objects` are the files that the guest had loaded, `threads` is what its threads did, as text.
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
        """Make what all runs need and take long to make, so that workers find it."""
        ...

    def run(self, program: Program, visit: Interaction | None = None) -> Run:
        """Run it to a verdict; after a visit it is asked to end, in its kernel's way.

        A fault of the harness or the host is a verdict too, never an exception.
        """
        ...


def unprinted(
    program: Program, transcript: Transcript, kernel: str, less: Callable[[bytes], bytes] = lambda console: console
) -> tuple[str, ...]:
    """What of `program.prints` is not on the console, where a kernel's own words may have torn a line; `less`
    takes those away that are known."""
    if not program.prints:
        return ()
    text = less(bytes(transcript.raw)).replace(b"\r\n", b"\n")
    for noise in patterns_of(kernel).noise:
        text = noise.sub(b"", text)
    return tuple(wanted for wanted in program.prints if not re.search(wanted.encode(), text, re.MULTILINE))


def conclude(
    program: Program, seen: Observation, transcript: Transcript, command: tuple[str, ...], origin: str,
    registers: str = "", vcpus: tuple[Vcpu, ...] = (),
) -> Run:  # fmt: skip
    """The run with its verdict."""
    outcome, reason = judge(seen)
    lines = () if outcome is Outcome.PASSED else tuple(transcript.tail(TAIL_LINES))
    verdict, notes = Verdict(outcome, reason, seen, lines), tuple(_told(pause) for pause in seen.pauses)
    return Run(program, verdict, transcript, command, origin, registers, vcpus, notes)


def _told(pause: Pause) -> str:
    return f"{pause.at:.0f} s after its start the host {pause.how} for {pause.seconds:.0f} s."


def failed_to_run(program: Program, trouble: str, transcript: Transcript, command: tuple[str, ...] = ()) -> Run:
    """A run that the harness or the host prevented."""
    seen = Observation(booted=False, trouble=trouble, limit=program.limit)
    return conclude(replace(program), seen, transcript, command, NOT_STARTED)
