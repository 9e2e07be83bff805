"""Run the test of a seed again, as `hunt` ran it: to the same verdict, with the same console."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from harness.analysis.hunt.debug import stopped_at_end
from harness.analysis.hunt.seed import Seed, check, seeded
from harness.cli.declaration import argument, declare, option
from harness.cli.number_types import COUNT
from harness.cli.options import Common, RunsFolder
from harness.cli.output import screen
from harness.core.events import subscribed
from harness.core.run_id import new_run_id
from harness.report import evidence, reproduce
from harness.report.progress import Progress
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
    runs: RunsFolder


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """The verdict of each time; 1 if it is no pass, 2 if two of them differ or it could not be run. With `--gdb`
    0, once the guest is gone."""
    session, seed = Session(arguments.osv_root), Seed.parse(arguments.seed)
    cell = session.cell(seed.cell)
    session.check_runs(cell)
    if arguments.gdb:
        return _debug(session, seed)
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(arguments.times):
        with subscribed(Progress()):
            program = session.program(cell, seed.test)
            check(session, cell, program)
            run = session.run(cell, seeded(program, seed.schedule))
        console = hashlib.sha256(bytes(run.transcript.raw)).hexdigest()[:16]
        seen[run.verdict.outcome, console] += 1
        screen().print(f"{run.verdict.outcome}: {run.verdict.reason}; console {console}", markup=False)
    if len(seen) > 1:
        screen().print(f"These were {len(seen)} different runs: the seed is none.", markup=False)
        return 2
    if run.verdict.outcome is Outcome.PASSED:
        return 0
    again = reproduce.replay_again(session, cell, str(seed), arguments.runs)
    folder = evidence.write(run, session.image(cell), "tcg", arguments.runs / new_run_id(), again)
    screen().print(f"  evidence: {folder}", markup=False)
    return 2 if run.verdict.outcome is Outcome.HARNESS_ERROR else 1


def _debug(session: Session, seed: Seed) -> int:
    """Run the seed to where it ends, say how gdb reaches it there, and wait until that is done with it."""
    cell = session.cell(seed.cell)
    with subscribed(Progress()):
        program, image = session.program(cell, seed.test), session.image(cell)
    check(session, cell, program)
    with stopped_at_end(session, image, seeded(program, seed.schedule)) as stopped:
        for line in stopped.guest.transcript.tail(LAST_LINES):
            screen().print(f"  {line.text}", markup=False)
        screen().print(f"The guest stands at {stopped.place}; Ctrl-C, or gdb's `kill`, ends it.", markup=False)
        print(f"gdb {image.symbols} -ex 'target remote {stopped.socket}'", flush=True)
        stopped.wait()
    return 0
