"""What several tests of reports share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_browser import written
from test_report_history import history

from harness.report.html.chromium import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(history(), tmp_path_factory.mktemp("report"))
