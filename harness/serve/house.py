"""What all answers rest on."""

from dataclasses import dataclass
from pathlib import Path

from harness.history.store import History
from harness.serve.guard import Rules
from harness.serve.jobs import Jobs
from harness.serve.pages import Pages
from harness.serve.watching import Watch


@dataclass(frozen=True)
class House:
    """One history, what watches it and makes pages of it, the farm's work, the rules, the folder of all runs."""

    history: History
    watch: Watch
    pages: Pages
    jobs: Jobs
    rules: Rules
    runs: Path
