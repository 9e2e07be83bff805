"""Starts processes that end with the harness, however it ends."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command line of a command that dies with the thread of this process that starts it (PR_SET_PDEATHSIG).

    The signal is not sent if the parent died before it was set, so the parent is checked afterwards.
    """
    check = 'parent=$1; shift; [ "$PPID" = "$parent" ] || exit; exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", check, "sh", str(os.getpid()), *command]


GROUP_WATCHDOG = 'exec 3<&0; (read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
"""Runs the command beside a process that kills the whole group once its input has no writer left."""


@contextmanager
def supervised_group(
    command: Sequence[str], output: int | IO[bytes], errors: int | IO[bytes], cwd: os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None, inherited: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """Run a command that starts further processes; none of them outlives this block or this process. They inherit
    the descriptors `inherited` too.

    PR_SET_PDEATHSIG covers one process, but not its children.
    """
    process = subprocess.Popen(
        ["sh", "-c", GROUP_WATCHDOG, "group", *command], stdin=subprocess.PIPE, stdout=output, stderr=errors,
        cwd=cwd, env=environment, pass_fds=inherited, start_new_session=True,
    )  # fmt: skip
    lifeline, process.stdin = process.stdin, None  # communicate() would close it
    assert lifeline
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        lifeline.close()


def run_with_parent(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that starts further processes until it ends; returns its output. Raises what `Popen`
    raises."""
    with supervised_group(command, subprocess.PIPE, subprocess.PIPE, environment=environment) as process:
        printed, errors = process.communicate()
    return subprocess.CompletedProcess(
        command, process.returncode, printed.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
    )
