"""Recorded guests of OSv: what one printed, byte for byte, and what was seen of its end besides.

A recording is run again by the runner that ran the guest: only the hypervisor and the debug stub are not there.
"""

import json
import socket
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from harness.core.cell import Cell
from harness.core.machine import Image, Machine
from harness.core.matrix import Matrix
from harness.host.cache import Cache
from harness.runner.base import Program, Run
from harness.runner.observation import Activity
from harness.runner.osv.command_line import programs_of
from harness.runner.osv.exit_checkpoints import Checkpoint, ExitCaller, TracedProgram
from harness.runner.osv.exit_record import ExitRecord
from harness.runner.osv.exit_tracer import ExitTracer
from harness.runner.osv.runner import OsvRunner
from harness.vm.base import ExitCause, ExitStatus, Vcpu, Vm

FOLDER = Path(__file__).parents[1] / "data/consoles"
INDEX = FOLDER / "index.toml"
HEADER = """\
# Consoles of real guests, recorded by `pytest tests/selftest/runner/test_faults.py --record`, and how each guest's end
# was seen: the program's status, the places that the kernel passed, who called poweroff and what abort() holds, by
# the debug stub; how QEMU ended; or what
# the vCPUs did when the time was over. `outcome` and `reason` (a part of it) are what the harness makes of it;
# `console_only` is the outcome where there is no debug stub, and `because` why it is another one.
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Recording:
    """A line of the index. `status` is None where the kernel told none; `ending` is empty for a guest that
    was still there; `activity` is empty for one that ended in time."""

    name: str
    situation: str
    cell: str
    command: str
    outcome: str
    reason: str
    console_only: str
    because: str = ""
    status: int | None = None
    passed: tuple[str, ...] = ()
    abort_message: str | None = None
    poweroff_caller: str = ""
    exit_caller: str = ExitCaller.OWN
    nested: tuple[str, ...] = ()
    cause: str = ""
    ending: str = ""
    activity: str = ""

    torn: tuple[bytes, bytes] = (b"", b"")

    @property
    def console(self) -> bytes:
        """What the guest printed; the first of what is `torn` is replaced by the second."""
        return (FOLDER / f"{self.name}.raw").read_bytes().replace(*self.torn, 1)


def recordings() -> list[Recording]:
    """The index, in its order."""
    rows = tomllib.loads(INDEX.read_text())["console"] if INDEX.exists() else []
    return [Recording(**{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}) for row in rows]


def record(
    name: str, situation: str, cell: Cell, run: Run, tracer: ExitTracer | None, expected: Mapping[str, str]
) -> None:
    """Put the run into the index, in place of what the index has of that name."""
    seen = run.verdict.observation
    made = Recording(
        name, situation, str(cell), run.program.command, **expected, status=seen.status,
        passed=tuple(map(str, tracer.passed)) if tracer else (), abort_message=seen.abort_message,
        poweroff_caller=tracer.poweroff_caller if tracer else "",
        exit_caller=tracer.exit_caller if tracer and tracer.exit_status is not None else ExitCaller.OWN,
        nested=tuple(tracer.nested) if tracer else (),
        cause=seen.exit_status.cause if seen.exit_status else "",
        ending=seen.exit_status.detail if seen.exit_status else "",
        activity=seen.activity or "",
    )  # fmt: skip
    (FOLDER / f"{name}.raw").write_bytes(run.transcript.raw)
    rows = {row.name: row for row in recordings()} | {name: made}
    INDEX.write_text(HEADER + "".join(_table(asdict(rows[key])) for key in sorted(rows)))


def _table(row: Mapping[str, Any]) -> str:
    """A TOML table; JSON's strings, numbers and lists are TOML's too."""
    told = {key: value for key, value in row.items() if key != "torn" and value is not None}
    told = {key: value for key, value in told.items() if value not in ("", ()) or key == "abort_message"}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()]
    return "\n[[console]]\n" + "\n".join(lines) + "\n"


def replay(recording: Recording, cache: Cache, witnessed: bool) -> Run:
    """What the harness makes of the recording, with or without what the debug stub told."""
    cell = Matrix.load().parse(recording.cell, "osv")
    image = Image(cell, kernel=Path("recorded"), cmdline="", digest="")
    runner = _Runner(image, _Hypervisor(recording, witnessed), "tcg", cache)
    return runner.run(Program(recording.name, recording.command, limit=0.1))


class _Vm:
    """A guest that prints what was recorded and then ends, or does not, as the recorded one did."""

    pid = 0
    command = ("recorded",)
    control = None
    debug = None

    def __init__(self, recording: Recording, witnessed: bool) -> None:
        self.recording = recording
        self.started = monotonic()
        self.console, self._far = socket.socketpair()
        self.told, self.teller = socket.socketpair()
        self.heard = threading.Event()
        self._looks = 0
        if not witnessed:
            self.heard.set()
        self._thread = threading.Thread(target=self._print)

    def resume(self) -> None:
        self._thread.start()

    def _print(self) -> None:
        self._far.sendall(self.recording.console)
        self.teller.send(b".")
        self.heard.wait(10)
        if self.recording.ending:
            self._far.close()

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        row = self.recording
        return ExitStatus(ExitCause(row.cause), row.ending) if row.ending else None

    def vcpus(self) -> tuple[Vcpu, ...]:
        """A vCPU that does what was seen, more clearly than any real one."""
        self._looks += 1
        does = self.recording.activity or Activity.IDLE
        pc = 0x1000 * self._looks if does == Activity.BUSY else 0x1000
        return (Vcpu(0, pc, 0.0 if does == Activity.IDLE else float(self._looks), 0.0),)

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return ""

    def close(self) -> None:
        self.heard.set()
        self._thread.join()
        for end in (self.console, self._far, self.told, self.teller):
            end.close()


class _Hypervisor:
    name = "recorded"

    def __init__(self, recording: Recording, witnessed: bool) -> None:
        self._recording = recording
        self._witnessed = witnessed

    def start(self, machine: Machine) -> Vm:
        return _Vm(self._recording, self._witnessed)


class _Recorded(ExitTracer):
    """What the debug stub told, all of it once the console has been sent."""

    def __init__(self, vm: _Vm) -> None:
        ExitRecord.__init__(self)
        self._vm = vm
        self._main_runs, self.only_death = True, False
        self.exit_caller = ExitCaller.OWN

    def fileno(self) -> int:
        return self._vm.told.fileno()

    def start(self) -> None:
        self._vm.resume()

    def take(self) -> bool:
        self._vm.told.recv(1)
        row = self._vm.recording
        self.passed += [Checkpoint(place) for place in row.passed]
        self.poweroff_caller, self.abort_message = row.poweroff_caller, row.abort_message
        returned = row.status if Checkpoint.JOINED in self.passed else None
        if row.status is not None or row.nested:
            self.programs += [TracedProgram(1, path, returned) for path in programs_of(row.command)]
        self.exit_status = (row.status or 0) if Checkpoint.EXIT in self.passed else None
        self.exit_caller = ExitCaller(row.exit_caller)
        self.nested += row.nested
        self._vm.heard.set()
        return not self.halted

    def examine(self) -> None:
        """Nothing: what was seen of the memory is recorded."""


class _Runner(OsvRunner):
    def _tracer(self, vm: Vm, *how: Any) -> ExitTracer | None:
        assert isinstance(vm, _Vm)
        return None if vm.heard.is_set() else _Recorded(vm)


class Recorder(OsvRunner):
    """Runs programs as OsvRunner does, and keeps the last one's exit tracer."""

    tracer: ExitTracer | None = None

    def _tracer(self, vm: Vm, *how: Any) -> ExitTracer | None:
        self.tracer = super()._tracer(vm, *how)
        return self.tracer
