"""Processes that end with the harness, whatever ends that."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command line of a command that dies with the thread of this process that starts it (PR_SET_PDEATHSIG).

    Who was killed before the tie was made kills nobody, so the parent is looked for after it.
    """
    check = 'parent=$1; shift; [ "$PPID" = "$parent" ] || exit; exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", check, "sh", str(os.getpid()), *command]


WATCHED = 'exec 3<&0; (read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'
"""Becomes the command, beside a process that kills the whole group once its input has no writer left."""


@contextmanager
def supervised_group(
    command: Sequence[str], output: int | IO[bytes], errors: int | IO[bytes], cwd: os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None, inherited: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """The command as a process that starts others: none of them outlives the block, nor this process.

    PR_SET_PDEATHSIG is of one process and not of what that starts. The descriptors `inherited` are theirs too.
    """
    process = subprocess.Popen(
        ["sh", "-c", WATCHED, "tied", *command], stdin=subprocess.PIPE, stdout=output, stderr=errors, cwd=cwd,
        env=environment, pass_fds=inherited, start_new_session=True,
    )  # fmt: skip
    alive, process.stdin = process.stdin, None  # communicate() would close it
    assert alive
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        alive.close()


def run_with_parent(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that starts others to its end, with what it printed. Raises what `Popen` raises."""
    with supervised_group(command, subprocess.PIPE, subprocess.PIPE, environment=environment) as process:
        printed, errors = process.communicate()
    return subprocess.CompletedProcess(
        command, process.returncode, printed.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
    )
