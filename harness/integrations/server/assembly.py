"""Puts a server together from what its command was given."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from harness.core.errors import HostError
from harness.integrations.server.guard import Rules
from harness.integrations.server.history_watch import Watch
from harness.integrations.server.jobs import Hands, Jobs, secret_of
from harness.integrations.server.pages import Pages
from harness.integrations.server.services import House
from harness.metrics.history.store import History
from harness.metrics.history.url import is_file

if TYPE_CHECKING:
    from harness.integrations.farm.dask_cluster import Tls


@dataclass(frozen=True, slots=True)
class Asked:
    """Where evidence is, what people call the server, who they are, and which farm works for it."""

    runs: Path
    urls: tuple[str, ...] = ()
    user_header: str = ""
    farm: str = ""
    tls: "Tls | None" = None


def house_of(url: URL, lock_seconds: int, osv_root: Path | None, asked: Asked) -> House:
    """The server's parts. Raises `HarnessError` where the history can't be opened, or a name is none."""
    words = url.database if is_file(url) else url.render_as_string(hide_password=False)
    rules = Rules(asked.urls, asked.user_header)
    history = History(words, lock_seconds)
    environment = {"OSV_HARNESS_HISTORY": str(words)}  # not on a command line, which all users of a host see
    if osv_root:
        environment["OSV_ROOT"] = str(osv_root.absolute())
    watch = Watch(url)
    pages = Pages(history, watch, environment)
    hands = _hands(asked, environment) if asked.farm else None
    return House(history, watch, pages, Jobs(history, watch, hands), rules, asked.runs)


def _hands(asked: Asked, environment: dict[str, str]) -> Hands:
    from harness.integrations.farm.dask_cluster import check_address  # which is no part of the extra `serve`

    check_address(asked.farm, asked.tls)
    known = asked.tls
    files = {"--tls-ca": known.ca, "--tls-cert": known.cert, "--tls-key": known.key} if known else {}
    options = [f"{name}={path.absolute()}" for name, path in files.items()]
    try:
        secret = secret_of(asked.runs)
    except OSError as error:
        raise HostError(
            f"Nothing can be kept in {asked.runs}: {error.strerror}.", "Give --runs a folder of yours."
        ) from error
    return Hands(asked.farm, options, asked.runs, environment, secret)
