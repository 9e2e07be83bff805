"""The options of commands that use a farm, and the list of what a farm did not run."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from harness.cli.declaration import option
from harness.cli.options import FILE, Common
from harness.cli.output import screen
from harness.core.errors import HarnessError, HostError
from harness.core.text import one_line

if TYPE_CHECKING:
    from harness.integrations.farm.dask_cluster import Tls
    from harness.integrations.farm.dispatcher import NotRun


@dataclass
class TlsOptions(Common):
    """The three files of a farm that uses TLS."""

    tls_ca: Annotated[
        Path | None,
        option("--tls-ca", type=FILE, metavar="FILE", help="the farm's authority's certificate, as PEM"),
    ]
    tls_cert: Annotated[
        Path | None, option("--tls-cert", type=FILE, metavar="FILE", help="the farm's own certificate, as PEM")
    ]
    tls_key: Annotated[
        Path | None, option("--tls-key", type=FILE, metavar="FILE", help="the farm's own key, as PEM")
    ]


@dataclass
class FarmOptions(TlsOptions):
    """The farm that does the work, if any."""

    farm: Annotated[
        str | None,
        option("--farm", metavar="ADDRESS", help="have a farm do it: its scheduler's, tcp://HOST:PORT"),
    ]


def tls(arguments: TlsOptions) -> "Tls | None":
    """The TLS files, all or none. Raises `HostError` if dask is not installed."""
    if not find_spec("distributed"):
        raise HostError(
            "The Python package distributed is missing.", "Install it: pip install 'osv-harness[farm]'"
        )
    # The import takes a second; only users of a farm need it.
    from harness.integrations.farm.dask_cluster import Tls

    given = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if arguments.tls_ca and arguments.tls_cert and arguments.tls_key:
        return Tls(arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if any(given):
        raise HarnessError("TLS wants three files.", "Give --tls-ca, --tls-cert and --tls-key.")
    return None


def show_not_run(not_run: Sequence["NotRun"]) -> None:
    """Show what was not run, and why."""
    for one in not_run:
        what = f"{one.what} on {one.cell}" if one.what else one.cell
        screen().print(one_line(f"not run: {what}: {one.why}"), style="yellow", markup=False, soft_wrap=True)
