"""Runs a hypervisor's command-line tools: finds them, returns their output, or raises their messages as an
error."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from harness.core.errors import HostError, HypervisorError
from harness.core.text import one_line

COMMAND_SECONDS = 60.0
SHOWN = 400  # letters


def program(name: str, cure: str) -> str:
    """The program's path. Raises `HostError` with the cure if it is missing."""
    found = shutil.which(name)
    if found is None:
        raise HostError(f"{name} is missing.", cure)
    return found


def run_tool(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, inherited: Sequence[int] = (),
    seconds: float = COMMAND_SECONDS,
) -> str:  # fmt: skip
    """Run the command, which inherits the descriptors `inherited`; returns its output.

    Raises `HypervisorError` with its messages if it fails, or if it takes longer than `seconds`.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, pass_fds=inherited,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise HypervisorError(f"{' '.join(command)} did not end in {seconds:.0f} s, and was ended") from error
    except OSError as error:
        raise HypervisorError(f"{' '.join(command)} can't be run: {error}") from error
    if done.returncode:
        words = one_line(done.stderr or done.stdout)[:SHOWN]
        raise HypervisorError(f"{' '.join(command)} failed with {done.returncode}: {words or 'without a word'}")
    return done.stdout.decode("utf-8", "replace")


def failure_of(command: Sequence[str]) -> str:
    """Run the command; returns why it fails, or an empty text."""
    try:
        run_tool(command)
    except HypervisorError as error:
        return error.message
    return ""
