"""Runs one build of OSv: keeps its log, publishes its progress, finds its first error."""

import errno
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.host import private_root
from harness.host.process.die_with_parent import supervised_group
from harness.kernels.osv.build_tree import BuildKilled

PROGRESS_EVERY = 5.0
"""Seconds between two progress events."""

SILENCE = 900.0
"""Seconds without output after which a build is killed. One object takes a minute or two on a loaded host; an OSv
that never fills its disk takes for ever."""

DISK_FULL = os.strerror(errno.ENOSPC)

NOT_FOUND = "Could not find any so file matching"
"""The message that remains if a module's makefile discards the one about missing lddtree. Source: OSv's
scripts/manifest_from_host.sh, modules/openssl/Makefile."""

# scripts/build announces a failed step of its own, and then exits with the status of having announced it; a Python
# step of it that dies (the upload to a zfs disk) may leave no trace in the status at all.
_FAILED = re.compile(r"\S*scripts/build failed: |Traceback \(most recent call last\)")
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
"""Patterns of a failed build's errors, the most informative first."""


def run_build(
    about: str, commands: Sequence[Sequence[str]], sources: Path, environment: Mapping[str, str], log: Path,
    timeout: float, lease: int,
) -> None:  # fmt: skip
    """Run the commands one after the other in the tree at `sources`, with one log. All processes of the build
    inherit the descriptor `lease`.

    Raises `BuildError` with the log's first error; `BuildKilled` after `timeout` seconds, or `SILENCE` seconds
    without output; `HostError` if the disk is full or lddtree is missing, since no commit is to blame for that.
    """
    deadline = time.monotonic() + timeout
    with log.open("wb") as file:
        for command in commands:
            file.write(f"$ {' '.join(command)}\n".encode())
            file.flush()
            status = _run(command, sources, environment, file.fileno(), log, about, deadline, lease)
            lines = log.read_text(errors="replace").splitlines()
            if status != 0 or any(_FAILED.match(line) for line in lines):
                # The linker names sources by debug information, which ccache shares between trees.
                trees = re.escape(str(sources.parent.parent))
                error = re.sub(rf"{trees}/[^/]+/src/(\./)?", "", first_error(lines))
                if why := private_root.refusal(lines):
                    raise HostError(f"The builder of {about} can't be entered: {why}", private_root.CURE)
                if full := next((line for line in lines if DISK_FULL in line), None):
                    raise HostError(
                        f"The disk was full while {about} was built: {full.strip()}",
                        f"Free some space on the filesystem of {sources}, and build again.",
                    )
                if any(line.startswith(NOT_FOUND) for line in lines) and not shutil.which("lddtree"):
                    raise HostError(
                        f"{about} can't be built here: OSv's manifest_from_host.sh, which takes libraries of this "
                        "host into an image, wants lddtree.",
                        f"Install pax-utils. The whole log: {log}",
                    )
                raise BuildError(f"Building {about} failed: {error}", f"The whole log: {log}", str(log))


def first_error(lines: Sequence[str]) -> str:
    """The line of a build log that best explains the failure."""
    for pattern in _ERRORS:
        if line := next((line for line in lines if pattern.search(line) and not line.startswith("$ ")), None):
            return line.strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def count_compiled(lines: Iterable[str]) -> int:
    """How many objects and programs were made, by the lines of a log."""
    return sum(1 for line in lines if _COMPILED.match(line))


def _run(
    command: Sequence[str], sources: Path, environment: Mapping[str, str], log: int, path: Path, about: str,
    deadline: float, lease: int,
) -> int:  # fmt: skip
    """Run one command; returns its exit status. No process of the build outlives this call or this process. Raises
    `BuildKilled` at the deadline."""
    with supervised_group(command, log, log, sources, environment, (lease,)) as process:
        return _watched(process, path, about, deadline)


def _watched(process: subprocess.Popen[bytes], path: Path, about: str, deadline: float) -> int:
    ended = os.pidfd_open(process.pid)
    started = spoke = time.monotonic()
    size, shown = 0, ""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            while (now := time.monotonic()) < min(deadline, spoke + SILENCE):
                if selector.select(min(PROGRESS_EVERY, deadline - now)):
                    return process.wait()
                if path.stat().st_size != size:
                    size, spoke = path.stat().st_size, time.monotonic()
                with path.open(errors="replace") as lines:
                    made = f"{count_compiled(lines)} compiled"
                if made != shown:
                    publish("build.progress", about, f"{made}, {time.monotonic() - started:.0f} s")
                    shown = made
        why = "took too long" if time.monotonic() >= deadline else f"said nothing for {SILENCE:.0f} s"
        output = first_error(path.read_text(errors="replace").splitlines())
        raise BuildKilled(f"Building {about} {why}: {output}", f"Its log: {path}", str(path))
    finally:
        os.close(ended)
