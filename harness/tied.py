"""Processes that end with the harness, whatever ends that."""

import os
from collections.abc import Sequence


def tied(command: Sequence[str]) -> list[str]:
    """The command line of a command that dies with the thread of this process that starts it (PR_SET_PDEATHSIG).

    Who was killed before the tie was made kills nobody, so the parent is looked for after it.
    """
    check = '[ "$PPID" = "$0" ] || exit; exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", check, str(os.getpid()), *command]
