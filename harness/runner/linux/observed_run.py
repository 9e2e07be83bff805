"""Collects what is observed of a program's run on Linux, from the guest's agent, the console and the
hypervisor."""

from time import monotonic

from harness.runner.base import Program, first_said, unprinted
from harness.runner.guest import Guest
from harness.runner.linux.agent import Agent
from harness.runner.linux.faults import Faults, FaultWatch, place_of
from harness.runner.observation import Activity, InteractionResult, Observation

GRACE_SECONDS, LONGEST_GRACE = 1.0, 5.0
TAIL_BYTES = 1 << 16


class ObservedRun:
    """A program's run in a guest whose agent has been waited for; the agent knows the program by `identifier`."""

    def __init__(self, program: Program, guest: Guest, agent: Agent, identifier: str) -> None:
        self._program = program
        self._guest = guest
        self._agent = agent
        self._identifier = identifier
        self._mark = f"{identifier} end".encode()
        guest.monitor.expect(self._mark)
        self._watch = FaultWatch(guest, agent)

    def over(self) -> bool:
        """Whether its exit status and all of its output arrived, the kernel faulted, or the guest is gone."""
        return self._ended() or self._watch.found() or self._agent.gone

    def settle(self, activity: Activity | None) -> None:
        """Read the rest from the guest; `activity` is what it did at its time limit, None if that was not
        reached."""
        agent = self._agent
        if agent.gone or not agent.ready or self._watch.found():
            self._guest.wait_for_quiet(GRACE_SECONDS, LONGEST_GRACE)
        if agent.ready and activity is not Activity.UNKNOWN:
            self._watch.settle()

    @property
    def stuck(self) -> bool:
        """Whether the guest lives and its program has not ended."""
        return self._alive() and not self._ended()

    def observation(
        self, activity: Activity | None, limit: float, interaction: InteractionResult | None
    ) -> Observation:
        """All that was observed; the program has ended, or its limit of `limit` seconds is over."""
        program, guest, agent = self._program, self._guest, self._agent
        status, proven, alive = agent.exited.get(self._identifier), self._ended(), self._alive()
        exit_status = None if alive else guest.vm.wait_for_exit()
        harness_error = guest.vm.hypervisor_error() if activity and alive else ""
        if exit_status is None and not alive:
            harness_error = guest.vm.hypervisor_error() or "QEMU closed a line to the guest and still runs"
        # Before the agent takes commands no program runs that could print anything.
        faults = self._watch.faults(exit_status) if agent.ready else Faults(guest.monitor.faults())
        if proven and faults.unread and not faults.of_kernel:
            harness_error = faults.unread
        kernel = guest.machine.image.cell.kernel
        return Observation(
            booted=agent.ready,
            status=status if proven or status not in program.good_statuses else None,
            status_from="the guest's agent, over the control line",
            clean_end=proven and alive,
            exit_status=exit_status,
            faults=faults.of_kernel,
            fault=_place(faults, agent),
            printed_faults=faults.printed,
            host_effect=guest.host.disturbance(self._watch.first_at) if faults.of_kernel else "",
            activity=activity,
            harness_error=harness_error,
            limit=limit,
            seconds=monotonic() - guest.transcript.start,
            skip_statuses=program.skip_statuses,
            good_statuses=program.good_statuses,
            unprinted=unprinted(program, guest.transcript, kernel, agent.log.without_its_words),
            denial=first_said(program.denials, guest.transcript, kernel, agent.log.without_its_words),
            skip=first_said(program.skips, guest.transcript, kernel, agent.log.without_its_words),
            interaction=interaction,
            kept_waiting=guest.kept_waiting,
            steal=guest.host.steal,
            pauses=guest.host.pauses,
        )

    def _ended(self) -> bool:
        """Whether the agent reported the exit status, and the mark after all of its output arrived."""
        return self._identifier in self._agent.exited and self._all_came()

    def _all_came(self) -> bool:
        torn = bytes(self._guest.transcript.raw[-TAIL_BYTES:])
        return self._guest.monitor.saw(self._mark) or self._mark in self._agent.log.without_its_words(torn)

    def _alive(self) -> bool:
        return not (self._guest.closed or self._agent.gone)


def _place(faults: Faults, agent: Agent) -> str:
    """Where the first of the kernel's own faults happened; a watchdog's place is wherever the timer found it."""
    first = next((fault for fault in faults.of_kernel if fault.kind == "fault"), None)
    return place_of(first.text, agent.log.shown().splitlines()) if first else ""
