"""Apps: real programs, each described for every kernel and arch by a TOML file in `apps/`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.link_mode import LinkMode
from harness.kernels.rootfs.contents import Contents
from harness.workloads.load.run import Load, load_from

LANGUAGES = ("c", "go", "rust")


@dataclass(frozen=True, slots=True)
class Source:
    """A small program that ships with the harness.

    `file` lies beside the app's own file, and is in `language`; `program` is its path in the guest; `flags` are
    for its compiler; `launch` is how it is linked unless the cell says.
    """

    file: Path
    language: str
    program: str
    flags: tuple[str, ...] = ()
    launch: LinkMode = LinkMode.PIE


@dataclass(frozen=True, slots=True)
class App:
    """One program on one kernel and arch.

    `memory` is in MiB. `port` is the guest's, 0 for a program that does its work and ends. `ready` is how long it
    may take to answer, `limit` how long to do its work, in seconds on hardware. `checks` are requests with their
    expected answers; the first shows that the app is ready. `inside` are checks inside the guest. `prints` are
    regular expressions that the console must match. `statuses` are those of a good end. `slow_start` takes a
    snapshot once it is ready, and starts further guests from that.
    """

    name: str
    summary: str
    contents: Contents
    command: str
    environment: Mapping[str, str]
    memory: int
    cpus: int
    port: int
    ready: float
    limit: float
    checks: tuple[Mapping[str, Any], ...]
    inside: tuple[Mapping[str, Any], ...]
    prints: tuple[str, ...]
    statuses: tuple[int, ...]
    loads: Mapping[str, Load]
    source: Source | None
    slow_start: bool


_DEFAULTS: dict[str, Any] = {
    "summary": "", "command": "", "environment": {}, "memory": 256, "cpus": 1, "port": 0, "ready": 20.0,
    "limit": 60.0, "check": (), "inside": (), "prints": (), "statuses": (0,), "load": {}, "source": None,
    "slow_start": False, "cells": ("*",),
}  # fmt: skip
_CONTENTS = {field.name for field in fields(Contents)} - {"texts", "made"}
_KEYS = {*_DEFAULTS, *_CONTENTS, "files", "on"}


def names() -> list[str]:
    """The names of all apps."""
    return list(project.apps())


def names_for(cell: Cell) -> list[str]:
    """The apps of the cell."""
    return [name for name in names() if any(fnmatchcase(str(cell), cells) for cells in _row(name, cell)["cells"])]


def app(name: str, cell: Cell) -> App:
    """The app on the cell. Raises `HarnessError` with the nearest names, or with what is wrong in its file."""
    row = _row(name, cell)
    try:
        contents = Contents(
            packages=tuple(row["packages"]),
            programs=tuple(row.get("programs", ())),
            modules=tuple(row.get("modules", ())),
            copied=tuple(row.get("copied", ())),
            folders=tuple(row.get("folders", ())),
            texts=row.get("files", {}),
            links=row.get("links", {}),
        )
        source = row["source"]
        return App(
            name=name,
            contents=contents,
            checks=tuple(row["check"]),
            inside=tuple(row["inside"]),
            loads={load: load_from(load, rows) for load, rows in row["load"].items()},
            source=source and _source(name, source),
            prints=tuple(row["prints"]),
            statuses=tuple(row["statuses"]),
            **{
                key: row[key]
                for key in (
                    "summary", "command", "environment", "memory", "cpus", "port", "ready", "limit", "slow_start",
                )
            },
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise HarnessError(
            f"The app file {name}.toml is wrong: {error!r}.", f"Compare it with {project.SHIPPED / 'apps'}."
        ) from error


def _row(name: str, cell: Cell) -> dict[str, Any]:
    """The file's values for the cell; a table under `on` holds for the cells whose name matches its pattern."""
    file = project.apps().get(name)
    if file is None:
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        raise HarnessError(f"There is no app {name}.", f"The nearest are: {', '.join(near) or 'none'}.")
    row = project.read(file)
    for cells, special in row.pop("on", {}).items():
        if fnmatchcase(str(cell), cells):
            row |= special
    if wrong := [key for key in row if key not in _KEYS]:
        near = difflib.get_close_matches(wrong[0], _KEYS, n=1)
        raise HarnessError(
            f"{file.name} has an unknown key {wrong[0]}.", f"Did you mean {', '.join(near) or 'none'}?"
        )
    row = _DEFAULTS | row
    if row["port"] and not row["check"]:
        raise HarnessError(
            f"{file.name} serves a port and has no [[check]].", "The first one says when it is ready."
        )
    return row


def _source(name: str, row: Mapping[str, Any]) -> Source:
    if (mode := row.get("launch", LinkMode.PIE)) not in list(LinkMode):
        raise HarnessError(f"{name}.toml: no launch mode {mode}.", f"There are {', '.join(LinkMode)}.")
    flags = tuple(row.get("flags", ()))
    file = project.apps()[name].parent / row["file"]
    source = Source(file, row["language"], row["program"], flags, LinkMode(mode))
    if source.language not in LANGUAGES:
        raise HarnessError(
            f"{name}.toml: no compiler for {source.language}.", f"There are {', '.join(LANGUAGES)}."
        )
    return source
