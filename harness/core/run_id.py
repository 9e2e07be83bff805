"""The id of a run, under which everything that one call of the harness stores can be found."""

import secrets
from time import strftime


def new_run_id() -> str:
    """The id of a new run: its local time and 8 random hex digits.

    A process id would not do: two hosts that share a history, especially containers, have the same ones.
    """
    return f"{strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
