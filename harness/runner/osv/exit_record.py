"""Records what an exit tracer has learnt about a guest."""

from harness.runner.osv.exit_checkpoints import (
    CLEAN_CALLER,
    FUNCTIONS,
    LAUNCHERS,
    SIGNAL_CALLER,
    Checkpoint,
    ExitCaller,
    TracedProgram,
)
from harness.runner.osv.kernel_memory import Stack


class ExitRecord:
    """The checkpoints that the kernel passed, and what it showed there of its programs and of its own end."""

    def __init__(self) -> None:
        self.awaited = 0
        """The address of the `application` that the main thread waits for; 0 where it waits for none."""
        self.passed: list[Checkpoint] = []
        self.refused: list[Checkpoint] = []
        """Checkpoints for which the stub had no breakpoint."""
        self.lost: list[Checkpoint] = []
        """Checkpoints that the kernel passed while what they show could not be read."""
        self.programs: list[TracedProgram] = []
        self.nested: list[str] = []
        """The paths of programs that other threads made, in the order in which they were."""
        self.exit_status: int | None = None
        self.exit_caller = ExitCaller.UNKNOWN
        self.exit_path = ""
        """The path of the program that called exit(), where the main thread had waited for none of it by then."""
        self.poweroff_caller = ""
        self.abort_message: str | None = None
        """What abort() was called with; None where that can't be read."""
        self.abort_arguments: tuple[int, ...] = ()
        self.stack_at_abort: Stack | None = None

    @property
    def started(self) -> bool:
        """Whether the main thread created a program, or waited for one."""
        return bool(self.programs or self.awaited)

    @property
    def halted(self) -> bool:
        """Whether the kernel gave up: the guest is at the entry of halt()."""
        return Checkpoint.HALT in self.passed

    @property
    def aborted(self) -> bool:
        """Whether abort() was called."""
        return Checkpoint.ABORT in self.passed or self.poweroff_caller == FUNCTIONS[Checkpoint.ABORT]

    @property
    def dead(self) -> bool:
        """Whether the kernel gave up or is about to: abort() does not return, though it may not reach halt()."""
        return self.halted or self.aborted or self.signalled

    @property
    def signalled(self) -> bool:
        """Whether the kernel powered off because of an uncaught signal."""
        return self.poweroff_caller == SIGNAL_CALLER

    @property
    def launch_failed(self) -> bool:
        """Whether the kernel powered off because it could not start a program."""
        return self.poweroff_caller.startswith(LAUNCHERS)

    @property
    def shut_down(self) -> bool:
        """Whether the kernel ended cleanly: by shutdown() and, from there, poweroff()."""
        return self.poweroff_caller == CLEAN_CALLER
