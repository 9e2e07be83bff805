"""Renders the page and its facts once, in a separate process: the statistics take seconds.

`python -m harness.integrations.server.render FOLDER` reads the history that OSV_HARNESS_HISTORY names, and writes
the gzipped page, its policy and its facts into the folder. The parent reads them if it exits with 0.
"""

import gzip
import os
import sys
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.garbage_collection import without_garbage_collection
from harness.integrations.server.facts import facts
from harness.integrations.server.page_assets import with_server_assets
from harness.integrations.server.pages import FACTS, PAGE, POLICY, state_text
from harness.metrics.history.store import History
from harness.report.html.building import build
from harness.report.html.site import one_file
from harness.report.model.data import ReportData
from harness.report.morning.commits import Commits
from harness.report.report_data import make_report_data
from harness.runner.session import Session

NICE = 10


def report_data(history: History) -> ReportData:
    """Everything that a report needs."""
    records = history.samples_by_time(), history.judged_by_time(), history.documents()
    return make_report_data(*records, history.graph())


def main(folder: Path) -> int:
    """Render both. Returns 2 if the history can't be read; the reason is on standard error."""
    os.nice(max(0, NICE - os.nice(0)))
    root = os.environ.get("OSV_ROOT")
    commits = Commits(Session(Path(root)).osv_root if root else None)
    try:
        with without_garbage_collection():
            with History() as history:
                state = state_text(history.state())  # first, so that later records count as new
                data = report_data(history)
            built = build(data, commits=commits)
        html, policy = with_server_assets(one_file(built))
        morning_facts = facts(built.morning, state)
    except HarnessError as error:
        print(error.message, file=sys.stderr)
        return 2
    (folder / PAGE).write_bytes(gzip.compress(html.encode(), mtime=0))
    (folder / POLICY).write_text(policy, encoding="utf-8")
    (folder / FACTS).write_text(morning_facts.model_dump_json(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
