"""Makes the page and its facts once, in a process of its own: statistics take seconds in which nobody shall wait.

`python -m harness.integrations.server.render FOLDER` reads the history that OSV_HARNESS_HISTORY names and leaves
the page, gzipped, its policy and its facts in the folder; who started it reads them if it ended well.
"""

import gzip
import os
import sys
from pathlib import Path

from harness.core.errors import HarnessError
from harness.integrations.server.decorating import decorated
from harness.integrations.server.facts import facts
from harness.integrations.server.pages import FACTS, PAGE, POLICY, state_text
from harness.metrics.history.store import History
from harness.report.html.page import page
from harness.report.model.data import ReportData
from harness.report.morning.commits import Commits
from harness.report.morning.report import morning
from harness.report.telling import telling
from harness.runner.session import Lab

NICE = 10


def told_of(history: History) -> ReportData:
    """All that a report rests on."""
    records = history.samples_by_time(), history.judged_by_time(), history.documents()
    return telling(*records, history.graph())


def main(folder: Path) -> int:
    """Make both. 2 where the history can't be read; its words are on standard error."""
    os.nice(max(0, NICE - os.nice(0)))
    root = os.environ.get("OSV_ROOT")
    commits = Commits(Lab(Path(root)).osv_root if root else None)
    try:
        with History() as history:
            state = state_text(history.state())  # first: what comes meanwhile is new
            told = told_of(history)
        html, policy = decorated(page(told, commits=commits))
        known = facts(morning(told.safe, commits), state)
    except HarnessError as error:
        print(error.happened, file=sys.stderr)
        return 2
    (folder / PAGE).write_bytes(gzip.compress(html.encode(), mtime=0))
    (folder / POLICY).write_text(policy, encoding="utf-8")
    (folder / FACTS).write_text(known.model_dump_json(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
