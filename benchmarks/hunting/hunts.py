"""Compares plain runs of each planted race with a hunt for it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.hunting.planted import CPUS, Race, image, races
from benchmarks.timing import cpu_seconds
from harness.analysis.hunt.seed import seeded
from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.runner.session import Session
from harness.runner.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a hunt ended: the schedule that lost the race, if any, after so many runs, and how many of these ended
    in another way that is no pass."""

    found: Schedule | None
    runs: int
    others: int
    cpu: float


def plain(session: Session, made: Image, race: Race, reruns: int) -> int:
    """How many of so many runs lose the race, on vCPUs that run side by side."""
    return sum(race.was_lost(session.run_on(made, race.program)) for _ in range(reruns))


def hunt(session: Session, made: Image, race: Race, seeds: int) -> Hunt:
    """Run the race by schedule after schedule until it is lost, or so many were tried."""
    began, others = cpu_seconds(), 0
    for number in range(1, seeds + 1):
        schedule = Schedule.drawn(number, CPUS)
        run = session.run_on(made, seeded(race.program, schedule))
        if race.was_lost(run):
            return Hunt(schedule, number, others, cpu_seconds() - began)
        others += run.verdict.outcome is not Outcome.PASSED
    return Hunt(None, seeds, others, cpu_seconds() - began)


def hunting(session: Session, cell: str, names: Collection[str], seeds: int, reruns: int) -> None:
    """Print a row for each planted race."""
    print("| race | plain runs lost it | a hunt lost it after | other failures | its cpu s | schedule |")
    print("|---|---|---|---|---|---|", flush=True)
    with TemporaryDirectory() as folder:
        made = image(session, cell, Path(folder))
        for race in races(names):
            lost = plain(session, made, race, reruns)
            ended = hunt(session, made, race, seeds)
            after = f"{ended.runs} seeds" if ended.found else f"not in {ended.runs}"
            row = (
                f"{race.about} (`{race.name}`)", f"{lost} of {reruns}", after, ended.others, f"{ended.cpu:.0f}",
                f"`{ended.found}`" if ended.found else "",
            )  # fmt: skip
            print("|", *(f"{one} |" for one in row), flush=True)
