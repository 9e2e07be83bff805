"""pytest's standard output on a full disk: the tests go on, and what there is no room for is dropped and said."""

import os
import sys
from typing import Any, TextIO

import pytest

from harness.core.errors import NO_ROOM


class FullOutput:
    """A plugin that stands between pytest's terminal reporter and its file."""

    def __init__(self) -> None:
        self._session: pytest.Session | None = None
        self._file: _Dropping | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Take the place; the session is kept, for its status is read after its summary is written."""
        self._session = session
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            self._file = reporter._tw._file = _Dropping(reporter._tw._file)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Fail the session, for its summary is nowhere; and leave Python nothing to write at its end."""
        if not (self._session and self._file):
            return
        self._file.flush()
        if self._file.refused:
            self._session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            errors = _Dropping(sys.stderr)  # on the same disk, where both go to one file
            errors.write(f"Standard output can't be written: {self._file.refused}.\n")
            errors.write("The tests went on. Free some space where it leads to, and run them again.\n")
            errors.flush()


class _Dropping:
    """A text file that drops what its disk has no room for; the rest is the file's own."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.refused = ""

    def write(self, text: str) -> int:
        """Write it, or as much of it as there is room for."""
        if not self.refused:
            try:
                return self._file.write(text)
            except OSError as error:
                self._note(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self._file.flush()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        if error.errno not in NO_ROOM:
            raise error
        self.refused = str(error.strerror)
        # What is buffered goes nowhere, or Python would fail by it at its end.
        descriptor = self._file.fileno()
        kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        self._file.flush()
        os.dup2(kept, descriptor)
        os.close(nowhere)
        os.close(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
