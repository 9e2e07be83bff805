"""JUnit's file in pytest: found unwritable before the first test, and said in words where it is at the end."""

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.core.whole_files import check_writable
from harness.integrations.pytest_plugin import junit


class JunitFile:
    """A plugin around what writes pytest's own files when the session ends, inside of what shows its summary."""

    def __init__(self, path: Path, unkept: list[str]) -> None:
        """`unkept` is told what could not be written. Raises `HostError` where it is plain already."""
        check_writable(path, "Free space there, or give --junitxml another file.", make_folder=True)
        self._path = path
        self._unkept = unkept

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Give the file a suite a cell. Where it can't be written the session fails, for somebody named it."""
        try:
            yield
            if self._path.exists():
                junit.split_by_cell(self._path)
        except OSError as error:
            why = f"{self._path} can't be written: {error.strerror}."
            self._unkept.append(f"{why}\n  Free space there, or give --junitxml another file.")
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        except HarnessError as error:
            self._unkept.append(str(error))
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
