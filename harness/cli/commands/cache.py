"""Show what is cached, or remove what was not used for longest."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from harness.cli.declaration import Group, option
from harness.cli.options import Common
from harness.cli.output import screen, table
from harness.core.errors import HarnessError
from harness.host.cache import Cache, Entry
from harness.report.model.formatting import shown

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass
class GcArguments(Common):
    """How much may remain."""

    limit: Annotated[
        str, option("--limit", default="20G", metavar="SIZE", help="what may remain: 10G, 500M")
    ]
    yes: Annotated[bool, option("--yes", is_flag=True, help="a --limit without a unit means bytes")]


command = Group(__doc__, Common)


def size(text: str) -> int:
    """Bytes from `10G`, `500M`, `1.5g`, `0`. Raises `HarnessError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)I?B?", text.strip().upper())
    if match is None:
        raise HarnessError(f"{text!r} is no size.", "Write a number of bytes, or one with K, M, G or T: 10G.")
    return int(float(match[1]) * UNITS[match[2]])


@command.subcommand("ls", "list artefacts, least recently used first")
def _list(arguments: Common) -> int:
    cache = Cache()
    entries = cache.entries()
    rows = table("kind", "digest", "size", "last used")
    for entry in entries:
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        rows.add_row(entry.kind, entry.digest[:12], shown(entry.size, "B"), used)
    screen().print(rows)
    screen().print(_total(entries, f"in {cache.root}"))
    return 0


@command.subcommand("gc", "remove the least recently used artefacts")
def _collect(arguments: GcArguments) -> int:
    limit = size(arguments.limit)
    if limit and arguments.limit.strip()[-1].isdigit() and not arguments.yes:
        raise HarnessError(
            f"--limit {arguments.limit} is {shown(limit, 'B')}, for it has no unit: nothing was removed.",
            f"Write --limit {arguments.limit}G, or add --yes if bytes are meant.",
        )
    removed = Cache().gc(limit)
    screen().print(_total(removed, "removed"))
    return 0


def _total(entries: list[Entry], what: str) -> str:
    count = len(entries)
    size = shown(sum(entry.size for entry in entries), "B")
    return f"{count} artefact{'' if count == 1 else 's'}, {size} {what}"
