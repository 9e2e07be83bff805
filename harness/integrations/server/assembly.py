"""Builds the parts of a server from its command's options."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from harness.core.errors import HostError
from harness.integrations.server.guard import Rules
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.jobs import FarmAccess, Jobs, secret_of
from harness.integrations.server.pages import Pages
from harness.integrations.server.services import Services
from harness.metrics.history.store import History
from harness.metrics.history.url import is_file

if TYPE_CHECKING:
    from harness.integrations.farm.dask_cluster import Tls


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The folder of evidence, the addresses of the server, the header with the user's name, and the farm."""

    runs: Path
    urls: tuple[str, ...] = ()
    user_header: str = ""
    farm: str = ""
    tls: "Tls | None" = None


def build_services(url: URL, lock_seconds: int, osv_root: Path | None, options: ServerOptions) -> Services:
    """The parts of the server. Raises `HarnessError` if the history can't be opened, or an option is invalid."""
    words = url.database if is_file(url) else url.render_as_string(hide_password=False)
    rules = Rules(options.urls, options.user_header)
    history = History(words, lock_seconds)
    environment = {"OSV_HARNESS_HISTORY": str(words)}  # a command line would show it to all users of the host
    if osv_root:
        environment["OSV_ROOT"] = str(osv_root.absolute())
    watch = Watch(url)
    pages = Pages(history, watch, environment)
    farm = _farm_access(options, environment) if options.farm else None
    return Services(history, watch, pages, Jobs(history, watch, farm), rules, options.runs)


def _farm_access(options: ServerOptions, environment: dict[str, str]) -> FarmAccess:
    from harness.integrations.farm.dask_cluster import check_address  # not in the extra `serve`

    check_address(options.farm, options.tls)
    known = options.tls
    files = {"--tls-ca": known.ca, "--tls-cert": known.cert, "--tls-key": known.key} if known else {}
    tls_options = [f"{name}={path.absolute()}" for name, path in files.items()]
    try:
        secret = secret_of(options.runs)
    except OSError as error:
        raise HostError(
            f"Nothing can be kept in {options.runs}: {error.strerror}.", "Give --runs a folder of yours."
        ) from error
    return FarmAccess(options.farm, tls_options, options.runs, environment, secret)
