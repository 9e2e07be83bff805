"""Serve the morning page live from a history, evidence and decisions too (needs the extra: osv-harness[serve])."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from harness.cli.declaration import declare, option
from harness.cli.farm_options import FarmOptions, tls
from harness.cli.options import LISTEN, HistoryUrl, RunsFolder
from harness.cli.output import screen
from harness.core.errors import HarnessError, HostError
from harness.metrics.history.url import is_file, place, shown

PORT = 8717
LOCK_SECONDS = 10
"""How long a decision waits for another writer of the history."""


@dataclass
class Arguments(FarmOptions):
    """The history, the address, and the users."""

    history: HistoryUrl
    runs: RunsFolder
    listen: Annotated[str, LISTEN]
    port: Annotated[int, option("--port", type=int, default=PORT, metavar="PORT", help="0: a free one")]
    url: Annotated[
        tuple[str, ...],
        option("--url", multiple=True, metavar="URL", help="what people call it behind a proxy (repeatable)"),
    ]
    user_header: Annotated[
        str,
        option(
            "--user-header", default="", show_default=False, metavar="NAME",
            help="the header in which a proxy gives the user's name: X-Forwarded-User",
        ),
    ]  # fmt: skip


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Serve until stopped."""
    for package in ("fastapi", "uvicorn"):
        if not find_spec(package):
            raise HostError(
                f"The Python package {package} is missing.", "Install it: pip install 'osv-harness[serve]'"
            )
    known = tls(arguments) if arguments.farm else None
    url = place(arguments.history)
    if is_file(url) and not Path(url.database or "").is_file():
        raise HarnessError(
            f"There is no history at {shown(url)}.", "A run of tests makes one; or name another with --history."
        )
    from harness.integrations.server.assembly import ServerOptions, build_services
    from harness.integrations.server.server import address, is_loopback, listen, serve

    options = ServerOptions(
        arguments.runs.absolute(), arguments.url, arguments.user_header, arguments.farm or "", known
    )
    with listen(arguments.listen, arguments.port) as listener:
        services = build_services(url, LOCK_SECONDS, arguments.osv_root, options)
        print(f"{shown(url)} is at {address(listener)}", flush=True)
        if not is_loopback(arguments.listen):
            screen().print(
                "Whoever reaches this address may read all of it and decide: see docs/guide/serve.md.",
                style="yellow",
            )
        serve(services, listener)
    return 0
