"""Does to GitHub's issues what was decided, by its own command line, `gh`."""

import shutil
import subprocess

from harness.core.errors import HostError
from harness.core.text import one_line
from harness.integrations.ci.issues import LABEL, Action

PATIENCE = 60.0  # seconds for one call


def do(action: Action) -> None:
    """Do one action. Raises `HostError` with what `gh` said if it fails.

    Words go to `gh` as arguments and a body through its standard input, so that no shell reads any of them.
    """
    for arguments, text in _calls(action):
        _call(arguments, text)


def _calls(action: Action) -> list[tuple[list[str], str]]:
    number, said = str(action.number), ["--body-file", "-"]
    new = ["--title", action.title, *said]
    comment = (["issue", "comment", number, *said], action.comment)
    edit = (["issue", "edit", number, *new], action.body)
    return {
        "open": [(["issue", "create", "--label", LABEL, *new], action.body)],
        "update": [edit],
        "reopen": [(["issue", "reopen", number], ""), edit, comment],
        "close": [comment, (["issue", "close", number, "--reason", "completed"], "")],
    }[action.verb]


def _call(arguments: list[str], text: str) -> None:
    program = shutil.which("gh")
    if program is None:
        raise HostError("There is no gh in PATH, GitHub's command line.", "Install it, or leave --do out.")
    try:
        done = subprocess.run(
            [program, *arguments], input=text.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostError(
            f"gh {' '.join(arguments[:2])} took more than {PATIENCE:.0f} s.", "Run it again."
        ) from None
    if done.returncode:
        said = one_line(done.stderr[-500:])
        raise HostError(
            f"gh {' '.join(arguments[:2])} failed: {said}", "Run it again: what was done is not redone."
        )
