"""Changes GitHub's issues by `gh`, GitHub's command-line tool."""

import shutil
import subprocess

from harness.core.errors import HostError
from harness.core.text import one_line
from harness.integrations.ci.issues import LABEL, Action

TIMEOUT = 60.0  # seconds for one call


def perform(action: Action) -> None:
    """Perform one action. Raises `HostError` with the output of `gh` if it fails.

    Titles go to `gh` as arguments and a body through its standard input, so that no shell reads them.
    """
    for arguments, text in _calls(action):
        _call(arguments, text)


def _calls(action: Action) -> list[tuple[list[str], str]]:
    number, body_file = str(action.number), ["--body-file", "-"]
    new = ["--title", action.title, *body_file]
    comment = (["issue", "comment", number, *body_file], action.comment)
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
            [program, *arguments], input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"gh {' '.join(arguments[:2])} took more than {TIMEOUT:.0f} s.", "Run it again.") from None
    if done.returncode:
        output = one_line(done.stderr[-500:])
        raise HostError(
            f"gh {' '.join(arguments[:2])} failed: {output}", "Run it again: what was done is not redone."
        )
