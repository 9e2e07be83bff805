"""The parts of the server that all routes share."""

from dataclasses import dataclass
from pathlib import Path

from harness.integrations.server.guard import Rules
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.jobs import Jobs
from harness.integrations.server.pages import Pages
from harness.metrics.history.store import History


@dataclass(frozen=True)
class Services:
    """The history, what watches it and renders pages of it, the jobs, the rules, and the folder of all runs."""

    history: History
    watch: Watch
    pages: Pages
    jobs: Jobs
    rules: Rules
    runs: Path
