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


# What makes the page is imported when one is made: it rests on modules that rest on `told` in this package.
def page(told: "ReportData", matrix: "Matrix | None" = None, commits: "Commits | None" = None) -> str:
    """The whole page as one file. `commits` tells their subjects, authors and links."""
    from harness.report.html import site

    return site.page(told, matrix, commits)


def write(
    told: "ReportData", path: Path, matrix: "Matrix | None" = None, commits: "Commits | None" = None,
    single: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the page there, and beside it, unless it is to be a single file, its data in a folder, `latest.json`,
    `feed.atom` and `badge.svg`. Returns the paths of the files that people open.

    Raises `HarnessError` where they can't be written.
    """
    from harness.report.html import site

    return site.write(told, path, matrix, commits, single)
