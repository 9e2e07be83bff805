"""How a program is run in a guest of a kernel, and how its end is learnt: one module a kernel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from harness.console.transcript import Transcript
from harness.hypervisors import Vcpu
from harness.machine import Image
from harness.verdict import Observation, Outcome, Verdict, judge

TAIL_LINES = 40


@dataclass(frozen=True, slots=True)
class Program:
    """One program to run in a guest of its own.

    `command` is what the kernel is told to run; `limit` is in seconds on this accelerator; `memory` is in
    MiB; `disk` is whether it wants a block device even where the image has none; `forwards` are guest ports;
    `nested` are lines of the kernel about programs that this one runs itself, which are not its own;
    `ends_by` is the kernel's line about the program's death where that death is what it tests.
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


@dataclass(frozen=True, slots=True)
class Run:
    """One program's run: the verdict, and the evidence that goes into its folder when it is not a pass."""

    program: Program
    verdict: Verdict
    transcript: Transcript
    command: tuple[str, ...]
    origin: str
    registers: str = ""
    vcpus: tuple[Vcpu, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Visit:
    """What the host does with a program while it runs: once the console shows `line`, `act` is called in a
    thread with the host port of each forwarded guest port. The verdict is still the program's own."""

    line: str
    act: Callable[[Mapping[int, int]], None]


class Runner(Protocol):
    """Runs programs in guests of one image, one guest each."""

    image: Image
    accelerator: str

    def prepare(self) -> None:
        """Make what all runs need and take long to make, so that workers find it."""
        ...

    def run(self, program: Program, visit: Visit | None = None) -> Run:
        """Run it to a verdict; a fault of the harness or the host is a verdict too, never an exception."""
        ...


def conclude(
    program: Program, seen: Observation, transcript: Transcript, command: tuple[str, ...], origin: str,
    registers: str = "", vcpus: tuple[Vcpu, ...] = (),
) -> Run:  # fmt: skip
    """The run with its verdict."""
    outcome, reason = judge(seen)
    lines = () if outcome is Outcome.PASSED else tuple(transcript.tail(TAIL_LINES))
    return Run(program, Verdict(outcome, reason, seen, lines), transcript, command, origin, registers, vcpus)


def failed_to_run(program: Program, trouble: str, transcript: Transcript, command: tuple[str, ...] = ()) -> Run:
    """A run that the harness or the host prevented."""
    seen = Observation(booted=False, trouble=trouble, limit=program.limit)
    return conclude(replace(program), seen, transcript, command, "not started")
