"""Checks before the first test that the JUnit file can be written, and reports at the end if it could not."""

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.whole_files import check_writable
from harness.integrations.pytest_plugin import junit


class JunitFile:
    """A plugin that runs around pytest's own writing of files at the end of a session, and inside of its
    summary."""

    def __init__(self, path: Path, not_stored: list[str]) -> None:
        """Errors of writing are added to `not_stored`. Raises `HostError` if the file is already known to be
        unwritable."""
        check_writable(path, "Free space there, or give --junitxml another file.", make_folder=True)
        self._path = path
        self._not_stored = not_stored

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Split the file by cell. If it can't be written the session fails: the user asked for it."""
        try:
            yield
            if self._path.exists():
                junit.split_by_cell(self._path)
        except OSError as error:
            why = f"{self._path} can't be written: {error.strerror}."
            self._not_stored.append(f"{why}\n  Free space there, or give --junitxml another file.")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        except HarnessError as error:
            self._not_stored.append(str(error))
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
