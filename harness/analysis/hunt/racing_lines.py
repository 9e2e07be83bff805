"""Tells which lines of a failed run race, for people: in a file of its evidence, and in short on the terminal."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.hunt.conflicts import Access, Conflict, Switch, conflicts, frames_after, switches, within
from harness.analysis.hunt.traced import TracedGuest, traced_to_end
from harness.core.machine import Image
from harness.kernels.source_lines import Place
from harness.runner.base import Program, Run
from harness.runner.session import Session
from harness.vm.qemu.plugin.trace import Kind

FILE = "racing-lines.txt"
MOST, MOST_SHORT = 12, 3
"""Conflicts of the program's own code that are told, and as many of all others; and in short."""

MOST_SWITCHES, MOST_FRAMES = 12, 12
DIFFERENT = (
    "The run was made once more to see which lines race, and its console was another: QEMU's plugin changed it. "
    "So no lines are told."
)
NONE = f"No two lines of the program were seen to race; what the kernel's did is in {FILE}."


@dataclass(frozen=True, slots=True)
class RacingLines:
    """What is told: the file's text, a few lines for the terminal, and how many instructions were run up to the
    end; 0 if that is not known."""

    text: str
    short: tuple[str, ...]
    instructions: int = 0


def racing_lines(session: Session, image: Image, program: Program, run: Run) -> RacingLines:
    """Make the run of the program, which has a schedule, once more and tell which lines race. Raises what
    `traced_to_end` raises."""
    with traced_to_end(session, image, program) as guest:
        console = bytes(guest.guest.transcript.raw)
        if not console or not bytes(run.transcript.raw).startswith(console):
            return RacingLines(f"{DIFFERENT}\n", (DIFFERENT,))
        return _told(guest)


def _told(guest: TracedGuest) -> RacingLines:
    found = conflicts(guest.records)
    own = [one for one in found if within(one, lambda pc: _of_program(guest, pc))]
    others = [one for one in found if one not in own]
    all_switches = list(switches(guest.records))
    teller = _Teller(guest, all_switches)
    end = teller.end()
    lines = [f"{end}.", "Counts are of instructions since the guest's reset. A thread is named by its stack.", ""]
    lines += ["CONFLICTS in the program: the rarest first, the last of each kind", ""]
    lines += teller.conflicts(own[:MOST]) or [NONE, ""]
    lines += ["CONFLICTS in the kernel, or between both", ""]
    lines += teller.conflicts(others[:MOST]) or ["none", ""]
    lines += ["THE LAST SWITCHES of threads that did not give way by themselves, the last first", ""]
    stopped = (one for one in all_switches if not one.rests and one.to_vcpu != one.vcpu)
    for switch in reversed(deque(stopped, MOST_SWITCHES)):
        lines += [*teller.switch(switch), ""]
    short = [teller.short(one) for one in own[:MOST_SHORT]] or [NONE]
    return RacingLines("\n".join(lines) + "\n", (end, *short), guest.head.ended)


def _of_program(guest: TracedGuest, pc: int) -> bool:
    return any(one.base <= pc < one.end for one in guest.objects)


class _Teller:
    """Puts accesses and switches of one guest into words."""

    def __init__(self, guest: TracedGuest, all_switches: Sequence[Switch]) -> None:
        self._guest = guest
        self._switches = all_switches
        self._places: dict[int, Place] = {}

    def end(self) -> str:
        """Where the run ended."""
        records, count = self._guest.records, self._guest.head.ended
        ends = np.flatnonzero(records["kind"] == Kind.ENDED)
        if not len(ends):
            return f"The run ended at instruction {self._guest.head.count:,}"
        one = records[ends[-1]]
        self._look_up([int(one["pc"]), *frames_after(records, ends[-1])])
        where = self._at(int(one["pc"]))
        return f"The run came to its end at instruction {count:,}: {where}, on vCPU {one['vcpu']}"

    def conflicts(self, chosen: Sequence[Conflict]) -> list[str]:
        """The conflicts, each with where its first thread stood."""
        self._look_up(pc for one in chosen for pc in one.places)
        lines = []
        for number, one in enumerate(chosen, 1):
            lines.append(f"{number}. memory at {one.address:#x}, seen {_times(one.times)}")
            lines += [f"   {self._access(it)}" for it in (one.before, one.between, one.after) if it]
            if one.after is None:
                lines.append(f"   thread {one.before.thread} did not go on in between")
            if stood := self._stood(one):
                lines += [f"   {line}" for line in self.switch(stood)]
            lines.append("")
        return lines

    def short(self, one: Conflict) -> str:
        """A conflict in one line."""
        three = [it for it in (one.before, one.between, one.after) if it]
        said = (f"thread {it.thread} {_verb(it)} in {self._places[it.pc].short}" for it in three)
        return f"{'; '.join(said)} ({one.address:#x}, {_times(one.times)})"

    def switch(self, one: Switch) -> list[str]:
        """A thread that was left, with its calls."""
        frames = one.frames[:MOST_FRAMES]
        self._look_up([one.pc, *frames])
        to = f"vCPU {one.to_vcpu}'s turn" if one.to_vcpu != one.vcpu else f"thread {one.to_thread} went on"
        first = f"{one.count:,}: vCPU {one.vcpu} left thread {one.thread} ({to}) in {self._at(one.pc)}"
        return [first, *(f"    called from {self._at(pc)}" for pc in frames)]

    def _stood(self, one: Conflict) -> Switch | None:
        """Where the first thread stood when the other made its access."""
        own = (it for it in self._switches if it.thread == one.before.thread)
        return max(
            (it for it in own if one.before.count <= it.count <= one.between.count),
            key=lambda it: it.count, default=None,
        )  # fmt: skip

    def _access(self, one: Access) -> str:
        return f"{one.count:>15,}: vCPU {one.vcpu}, thread {one.thread} {_verb(one)} in {self._at(one.pc)}"

    def _at(self, pc: int) -> str:
        return str(self._places[pc])

    def _look_up(self, addresses: Iterable[int]) -> None:
        unknown = sorted(set(addresses) - set(self._places))
        self._places |= dict(zip(unknown, self._guest.lines.at(unknown), strict=True))


def _verb(one: Access) -> str:
    return "wrote" if one.writes else "read"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
