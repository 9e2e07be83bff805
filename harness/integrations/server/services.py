"""What all answers rest on."""

from dataclasses import dataclass
from pathlib import Path

from harness.integrations.server.guard import Rules
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.jobs import Jobs
from harness.integrations.server.pages import Pages
from harness.metrics.history.store import History


@dataclass(frozen=True)
class House:
    """One history, what watches it and makes pages of it, the farm's work, the rules, the folder of all runs."""

    history: History
    watch: Watch
    pages: Pages
    jobs: Jobs
    rules: Rules
    runs: Path
