"""One build of OSv: its log kept, its progress published, its first error found."""

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import BuildError
from harness.events import publish
from harness.kernels.osv_tree import BuildKilled

PROGRESS_EVERY = 5.0
"""Seconds between two progress events."""

# scripts/build announces a failed step of its own, and then exits with the status of having announced it.
_FAILED = re.compile(r"\S*scripts/build failed: ")
_COMPILED = re.compile(r"^\s+(CXX|CC|AS|LD|LINK) ")
_ERRORS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(fatal )?error: ",
        r"undefined reference|multiple definition|cannot find -l",
        r"^fatal: |^\w*(Error|Exception): ",
        r"^make.*\*\*\* (?!Waiting)",
        r"Error|Exception|failed|not found",
    )
)
"""What a failed build says, the most telling first."""


def run_build(
    about: str, commands: Sequence[Sequence[str]], sources: Path, environment: Mapping[str, str], log: Path,
    timeout: float,
) -> None:  # fmt: skip
    """Run the commands one after the other in the tree at `sources`, all into the one log.

    Raises `BuildError` with the first error of the log, `BuildKilled` when `timeout` seconds were not enough.
    """
    deadline = time.monotonic() + timeout
    with log.open("wb") as file:
        for command in commands:
            file.write(f"$ {' '.join(command)}\n".encode())
            file.flush()
            status = _run(command, sources, environment, file.fileno(), log, about, deadline)
            if status is None:
                raise BuildKilled(f"Building {about} took more than {timeout:.0f} s.", f"Its log: {log}", str(log))
            lines = log.read_text(errors="replace").splitlines()
            if status != 0 or any(_FAILED.match(line) for line in lines):
                # The linker names sources by debug information, which ccache shares between trees.
                trees = re.escape(str(sources.parent.parent))
                error = re.sub(rf"{trees}/[^/]+/src/(\./)?", "", first_error(lines))
                raise BuildError(f"Building {about} failed: {error}", f"The whole log: {log}", str(log))


def first_error(lines: Sequence[str]) -> str:
    """The line of a build log that tells most about why it failed."""
    for pattern in _ERRORS:
        if line := next((line for line in lines if pattern.search(line) and not line.startswith("$ ")), None):
            return line.strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def count_compiled(lines: Iterable[str]) -> int:
    """How many objects and programs the lines of a log say were made."""
    return sum(1 for line in lines if _COMPILED.match(line))


def _run(
    command: Sequence[str], sources: Path, environment: Mapping[str, str], log: int, path: Path, about: str,
    deadline: float,
) -> int | None:  # fmt: skip
    """The exit status, or None at the deadline. Nothing of the build outlives this call."""
    process = subprocess.Popen(
        command, cwd=sources, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    ended = os.pidfd_open(process.pid)
    started = time.monotonic()
    shown = ""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if selector.select(min(PROGRESS_EVERY, deadline - time.monotonic())):
                    return process.wait()
                with path.open(errors="replace") as lines:
                    now = f"{count_compiled(lines)} compiled"
                if now != shown:
                    publish("build.progress", about, f"{now}, {time.monotonic() - started:.0f} s")
                    shown = now
        return None
    finally:
        os.close(ended)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
