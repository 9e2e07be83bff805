"""A program in which threads add without a lock, and a schedule by which they lose additions."""

from pathlib import Path

from harness.runner.base import Program

SOURCE = Path(__file__).parents[1] / "data/guest_programs/race.c"
RACE = Program("race", "/race.so", 60)
LOSING = "3c5s46t57t7p"
"""A schedule in which additions are lost, on three vCPUs."""
