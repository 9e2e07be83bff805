"""Writes the report as an HTML page: one file that needs nothing else, or a small one with its data in a folder
beside it.

The page may run its own script, and the data that it loads, and nothing else: a Content-Security-Policy names the
script's hash. What guests printed reaches the page as JSON that is shown as text only, or is escaped by the
template.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.core.matrix import Matrix
    from harness.report.model.data import ReportData
    from harness.report.morning.commits import Commits


# Imported when a page is made: its modules import others of this package.
def page(report_data: "ReportData", matrix: "Matrix | None" = None, commits: "Commits | None" = None) -> str:
    """Render the whole page as one file. `commits` looks up subjects, authors and links."""
    from harness.report.html import site

    return site.page(report_data, matrix, commits)


def write(
    report_data: "ReportData", path: Path, matrix: "Matrix | None" = None, commits: "Commits | None" = None,
    single: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the page to `path`; returns the paths of the files that people open.

    Unless `single` is set, its data goes to a folder beside it, together with `latest.json`, `feed.atom` and
    `badge.svg`. Raises `HarnessError` if a file can't be written.
    """
    from harness.report.html import site

    return site.write(report_data, path, matrix, commits, single)
