"""Tells which lines of a seed's failed run race, in its evidence and on the terminal."""

from dataclasses import replace
from pathlib import Path

from harness.analysis.hunt.racing_lines import FILE, RacingLines, racing_lines
from harness.analysis.hunt.seed import Seed
from harness.cli.output import screen
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.core.machine import Image
from harness.core.whole_files import write_whole
from harness.report import evidence, reproduce
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.session import Session
from harness.runner.verdict import Outcome


def write_evidence(session: Session, seed: Seed, program: Program, run: Run, runs: Path) -> Path:
    """Write the evidence of a run that is no pass, with its racing lines, and print those in short.

    The run is made once more for them. If that is in vain, the reason stands in their place.
    """
    cell = session.cell(seed.cell)
    image = session.image(cell)
    told = _told(session, image, program, run)
    if told.instructions:
        run = replace(run, notes=(*run.notes, f"It came to its end at instruction {told.instructions:,}."))
    folder = evidence.write(run, image, "tcg", runs, reproduce.replay_again(session, cell, str(seed), runs.parent))
    write_whole(folder / FILE, told.text, "Free space there, or give --runs another folder.")
    for line in told.short:
        screen().print(f"  {line}", markup=False, soft_wrap=True)
    return folder


def _told(session: Session, image: Image, program: Program, run: Run) -> RacingLines:
    if run.verdict.observation.activity is not None or run.verdict.outcome is Outcome.HARNESS_ERROR:
        return _unknown("it came to no end")
    try:
        with subscribed(Progress()):
            return racing_lines(session, image, program, run)
    except HarnessError as error:
        return _unknown(str(error))


def _unknown(why: str) -> RacingLines:
    text = f"Which lines of this run race is not known: {why}"
    return RacingLines(f"{text}\n", (text,))
