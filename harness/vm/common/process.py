"""The process of a hypervisor."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness.host.process.cpu_time import ran_and_waited
from harness.host.process.supervised import SupervisedProcess
from harness.vm.base import ExitCause, ExitStatus, Vcpu


class VmProcess(SupervisedProcess):
    """The process in which a guest runs. `stopped` says that the harness killed it."""

    stopped = False

    def stop(self) -> None:
        """Kill it on behalf of the harness."""
        self.stopped = True
        self.kill()

    def exit_status(self, status: int, words: Callable[[], str]) -> ExitStatus:
        """How its guest ended, if only the exit status tells; `words` gives the reason of a failure."""
        description = self.describe(status)
        if self.stopped:
            return ExitStatus(ExitCause.STOPPED, description)
        if status < 0:
            return ExitStatus(ExitCause.KILLED, description)
        return (
            ExitStatus(ExitCause.REFUSED, f"{description}: {words()}")
            if status
            else ExitStatus(ExitCause.POWERED_OFF, description)
        )

    def vcpus(self, prefix: str) -> tuple[Vcpu, ...]:
        """Its vCPUs, which are the threads whose names begin with `prefix`; their places are unknown."""
        found: list[Vcpu] = []
        for thread in sorted(Path(f"/proc/{self.pid}/task").glob("*"), key=lambda path: int(path.name)):
            with suppress(OSError, ValueError):
                if (thread / "comm").read_text().startswith(prefix):
                    found.append(Vcpu(len(found), None, *ran_and_waited(self.pid, int(thread.name))))
        return tuple(found)
