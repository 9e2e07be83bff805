"""What commands that use a farm have in common: its options, and what is said of what it did not run."""

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING

from harness.commands._screen import screen
from harness.console.transcript import printable
from harness.errors import HarnessError, HostError

if TYPE_CHECKING:
    from harness.farm.asking import Unrun
    from harness.farm.cluster import Tls


def add_farm(parser: argparse.ArgumentParser) -> None:
    """Where the farm is that shall do the work, if one shall."""
    parser.add_argument("--farm", metavar="ADDRESS", help="have a farm do it: its scheduler's, tcp://HOST:PORT")
    add_tls(parser)


def add_tls(parser: argparse.ArgumentParser) -> None:
    """The three files of a farm that speaks TLS."""
    for name, what in {"ca": "authority's certificate", "cert": "own certificate", "key": "own key"}.items():
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help=f"the farm's {what}, as PEM")


def tls(arguments: argparse.Namespace) -> "Tls | None":
    """What was given for TLS, all of it or nothing. Raises `HostError` if dask is not installed."""
    if not find_spec("distributed"):
        raise HostError(
            "The Python package distributed is missing.", "Install it: pip install 'osv-harness[farm]'"
        )
    # dask takes a second to import, which nobody pays who has no farm.
    from harness.farm.cluster import Tls

    given = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if not any(given):
        return None
    if not all(given):
        raise HarnessError("TLS wants three files.", "Give --tls-ca, --tls-cert and --tls-key.")
    return Tls(*given)


def run_name() -> str:
    """A new run's."""
    return f"farm-{strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def show_unrun(unrun: Sequence["Unrun"]) -> None:
    """Say of each thing that was not run why."""
    for one in unrun:
        what = f"{one.what} on {one.cell}" if one.what else one.cell
        screen().print(plain(f"not run: {what}: {one.why}"), style="yellow", markup=False, soft_wrap=True)


def plain(text: str) -> str:
    """What others said, as one line that shows as what it is."""
    return printable(" ".join(text.split()).encode("utf-8", "backslashreplace"))
