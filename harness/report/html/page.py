"""The report as an HTML page: one file that needs nothing else, or one that is small, with its data beside it.

The page may execute its own script and what that fetches, and no other (a Content-Security-Policy with its hash);
what guests printed reaches it as JSON text that only ever becomes text, or escaped by the template.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.core.matrix import Matrix
    from harness.report.model.data import ReportData
    from harness.report.morning.commits import Commits


# Imported when a page is made: its modules import others of this package.
def page(report_data: "ReportData", matrix: "Matrix | None" = None, commits: "Commits | None" = None) -> str:
    """The whole page as one file. `commits` tells their subjects, authors and links."""
    from harness.report.html import site

    return site.page(report_data, matrix, commits)


def write(
    report_data: "ReportData", path: Path, matrix: "Matrix | None" = None, commits: "Commits | None" = None,
    single: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the page there, and beside it, unless it is to be a single file, its data in a folder, `latest.json`,
    `feed.atom` and `badge.svg`. Returns the paths of the files that people open.

    Raises `HarnessError` where they can't be written.
    """
    from harness.report.html import site

    return site.write(report_data, path, matrix, commits, single)
