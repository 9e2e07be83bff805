"""Run the test of a seed again, as `hunt` ran it: to the same verdict, with the same console."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from harness.analysis.hunt.debug import StoppedGuest, stopped_at_end, stopped_at_instruction
from harness.analysis.hunt.seed import Seed, check, seeded
from harness.analysis.hunt.writes import LAST, Memory, writes
from harness.cli.declaration import argument, declare, option
from harness.cli.number_types import COUNT
from harness.cli.options import Common, RunsFolder
from harness.cli.output import screen
from harness.cli.racing_lines import write_evidence
from harness.core.events import subscribed
from harness.core.machine import Image
from harness.core.run_id import new_run_id
from harness.report.progress import Progress
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

LAST_LINES = 10
"""Lines of the console that are shown of a guest that is to be debugged."""


@dataclass
class Arguments(Common):
    """The seed."""

    seed: Annotated[str, argument("seed", help="as hunt prints it: osv:qemu-ramfs/tst-condvar.so@2c3s17t31p")]
    times: Annotated[int, option("--times", type=COUNT, default=1, metavar="N", help="how often")]
    gdb: Annotated[
        bool, option("--gdb", is_flag=True, help="stop where the run ends, and wait for gdb on a private socket")
    ]
    until: Annotated[
        int | None,
        option("--until", type=COUNT, metavar="COUNT", help="stop at that instruction; tell where each vCPU is"),
    ]
    writes: Annotated[
        str | None,
        option("--writes", metavar="ADDRESS[+BYTES]", help=f"the last {LAST} writes to this memory of the guest"),
    ]
    runs: RunsFolder


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """The verdict of each time; 1 if it is no pass, 2 if two of them differ or it could not be run. With `--gdb`,
    `--until` or `--writes` 0."""
    session, seed = Session(arguments.osv_root), Seed.parse(arguments.seed)
    memory = Memory.parse(arguments.writes) if arguments.writes else None
    cell = session.cell(seed.cell)
    session.check_runs(cell)
    with subscribed(Progress()):
        plain, image = session.program(cell, seed.test), session.image(cell)
    check(session, cell, plain)
    program = seeded(plain, seed.schedule)
    if memory:
        for line in writes(session, image, program, memory):
            screen().print(line, markup=False, soft_wrap=True)
        return 0
    if arguments.until:
        with stopped_at_instruction(session, image, program, arguments.until) as stopped:
            for line in stopped.vcpus:
                screen().print(line, markup=False, soft_wrap=True)
            return _debug(image, stopped) if arguments.gdb else 0
    if arguments.gdb:
        with stopped_at_end(session, image, program) as stopped:
            return _debug(image, stopped)
    return _replay(session, seed, program, arguments)


def _replay(session: Session, seed: Seed, program: Program, arguments: Arguments) -> int:
    cell = session.cell(seed.cell)
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(arguments.times):
        with subscribed(Progress()):
            run = session.run(cell, program)
        console = hashlib.sha256(bytes(run.transcript.raw)).hexdigest()[:16]
        seen[run.verdict.outcome, console] += 1
        screen().print(f"{run.verdict.outcome}: {run.verdict.reason}; console {console}", markup=False)
    if len(seen) > 1:
        screen().print(f"These were {len(seen)} different runs: the seed is none.", markup=False)
        return 2
    if run.verdict.outcome is Outcome.PASSED:
        return 0
    folder = write_evidence(session, seed, program, run, arguments.runs / new_run_id())
    screen().print(f"  evidence: {folder}", markup=False)
    return 2 if run.verdict.outcome is Outcome.HARNESS_ERROR else 1


def _debug(image: Image, stopped: StoppedGuest) -> int:
    """Say how gdb reaches the guest where it stands, and wait until that is done with it."""
    for line in stopped.guest.transcript.tail(LAST_LINES):
        screen().print(f"  {line.text}", markup=False)
    screen().print(f"The guest stands at {stopped.place}; Ctrl-C, or gdb's `kill`, ends it.", markup=False)
    print(f"gdb {image.symbols} {' '.join(stopped.gdb_options)}", flush=True)
    stopped.wait()
    return 0
