"""Shell completion: cells, tests, apps, metrics, commits and other names.

Each function runs at every press of the key, so it reads only what is at hand: data files, recorded durations, an
OSv checkout, git. Nothing is built, fetched or booted; names that this can't find are not offered. Imports are
made when needed, because the shell waits.
"""

import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.core.cell import Cell
    from harness.core.matrix import Matrix

Names = Iterable[str | tuple[str, str]]
"""Words, or words with their descriptions."""

RECENT = 200
"""The number of latest commits that are offered by their abbreviated names, besides branches and tags."""


def _offer(names: Callable[[click.Context, str], Names]) -> Callable[..., list[CompletionItem]]:
    """The callback for click: those names that start with the incomplete word; none if a file can't be read."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            known = dict(name if isinstance(name, tuple) else (name, "") for name in names(ctx, incomplete))
        except (HarnessError, OSError):
            return []
        matching = [name for name in known if name.startswith(incomplete)]
        return [CompletionItem(name, help=known[name] or None) for name in matching]

    return complete


def _matrix() -> "Matrix":
    from harness.core.matrix import Matrix

    return Matrix.load()


def _kernel(ctx: click.Context) -> str:
    return "osv" if ctx.params.get("osv_root") else "linux"


def _cell(ctx: click.Context) -> "Cell":
    """The cell on the command line, or the default one."""
    named = ctx.params.get("cell") or "qemu-rofs"
    return _matrix().parse(named if isinstance(named, str) else named[0], _kernel(ctx))


def _valid(kernel: str, everything: bool) -> Iterable["Cell"]:
    """The valid cells of a kernel: all, or those of this host's arch with the default profile."""
    from harness.core.arch import host_arch

    matrix = _matrix()
    for cell in matrix.cells(kernel):
        plain = cell.arch == host_arch() and cell.profile == matrix.axes["profile"].default
        if (everything or plain) and not matrix.invalid(cell):
            yield cell


@_offer
def cells(ctx: click.Context, incomplete: str) -> Names:
    """Cells by their short names; after a + options, after a / variants."""
    matrix = _matrix()
    for mark, values in (("/", matrix.axes["variant"].values), ("+", matrix.options)):
        before, found, _ = incomplete.rpartition(mark)
        if found:
            yield from (f"{before}{mark}{value}" for value in values)
            return
    prefix, colon, _ = incomplete.rpartition(":")
    for kernel in matrix.axes["kernel"].values:
        if (colon and kernel == prefix) or (incomplete and kernel.startswith(incomplete)):
            yield from (f"{kernel}:{matrix.short(cell)}" for cell in _valid(kernel, bool(colon)))
    if not colon:
        yield from (matrix.short(cell) for cell in _valid(_kernel(ctx), bool(incomplete)))


@_offer
def full_cells(ctx: click.Context, incomplete: str) -> Names:
    """Cells by their full names, which the history uses."""
    for kernel in _matrix().axes["kernel"].values:
        yield from map(str, _valid(kernel, bool(incomplete)))


@_offer
def tests(ctx: click.Context, incomplete: str) -> Names:
    """The cell's in-guest tests, as far as they are known without its image."""
    from harness.host.cache import Cache
    from harness.runner import catalog
    from harness.runner.durations import Durations

    cell = _cell(ctx)
    yield from catalog.known(cell.kernel)
    for accelerator in ("kvm", "tcg"):
        yield from Durations(Cache()).longest(cell, accelerator)
    if cell.kernel == "osv" and (root := ctx.params.get("osv_root")):
        for path in sorted(Path(root).glob("tests/*.c*")):
            if path.stem.startswith(("tst-", "misc-")):
                yield f"{path.stem}.so"


@_offer
def apps(ctx: click.Context, incomplete: str) -> Names:
    """The apps of the cell, with their summaries."""
    from harness.workloads.apps import app as apps

    cell = _cell(ctx)
    return [(name, apps.app(name, cell).summary) for name in apps.names_for(cell)]


@_offer
def loads(ctx: click.Context, incomplete: str) -> Names:
    """The loads of the apps on the command line."""
    from harness.workloads.apps import app as apps

    return [load for name in ctx.params.get("name") or () for load in apps.app(name, _cell(ctx)).loads]


@_offer
def metrics(ctx: click.Context, incomplete: str) -> Names:
    """The metrics of the cell, except those that only a build or a guest can name."""
    from harness.metrics.names import patterns

    cell = _matrix().parse("qemu-rofs", _kernel(ctx)) if "*" in str(ctx.params.get("cell")) else _cell(ctx)
    return [name for name in patterns(cell) if "*" not in name]


@_offer
def measurements(ctx: click.Context, incomplete: str) -> Names:
    """The measurements of the cell."""
    from harness.metrics.suite import names

    return names(_cell(ctx))


@_offer
def commits(ctx: click.Context, incomplete: str) -> Names:
    """Branches, tags and the latest commits of the checkout, with their subjects."""
    return _commits(ctx)


@_offer
def sides(ctx: click.Context, incomplete: str) -> Names:
    """What can be compared: commits and build options."""
    yield from (f"+{option}" for option in _matrix().options)
    yield from _commits(ctx)


def _commits(ctx: click.Context) -> Names:
    from harness.kernels.osv.checkout import run_git

    if not (root := ctx.params.get("osv_root")):
        return
    yield "HEAD", "what is checked out"
    refs = ("for-each-ref", "--sort=-creatordate", "--format=%(refname:short)%09%(subject)")
    for words in ((*refs, "refs/heads", "refs/tags"), ("log", f"-{RECENT}", "--format=%h%x09%s")):
        for line in run_git(Path(root), *words).decode("utf-8", "replace").splitlines():
            name, _, subject = line.partition("\t")
            yield name, subject


@_offer
def sets(ctx: click.Context, incomplete: str) -> Names:
    """The named sets of cells."""
    return _matrix().sets


@_offer
def kernels(ctx: click.Context, incomplete: str) -> Names:
    """The kernels."""
    return _matrix().axes["kernel"].values


@_offer
def variants(ctx: click.Context, incomplete: str) -> Names:
    """The machine variants."""
    return _matrix().axes["variant"].values


@_offer
def launches(ctx: click.Context, incomplete: str) -> Names:
    """The link modes, with their descriptions."""
    return _matrix().launches.items()


@_offer
def builders(ctx: click.Context, incomplete: str) -> Names:
    """The builders, with what they have."""
    from harness.core.builders import builders as known

    return [(row.name, row.what) for row in known().values()]


@_offer
def installs(ctx: click.Context, incomplete: str) -> Names:
    """What doctor can install."""
    from harness.host.requirements import REQUIREMENTS

    return ["all", *(name for name, need in REQUIREMENTS.items() if need.packages)]


class Bash(BashComplete):
    """Completion of words with a colon, at which bash splits a word into three: `osv:qemu-rofs`."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the incomplete one, and the incomplete one, joined again."""
        words, at = split_arg_string(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
        whole: list[str] = []
        for before, word in pairwise(words[: at + 1]):
            if whole and (word == ":" or before == ":"):
                whole[-1] += word
            else:
                whole.append(word)
        incomplete = whole.pop() if at < len(words) and whole else ""
        is_broken = incomplete != "".join(words[at:])
        self._kept_prefix = incomplete[: incomplete.rfind(":") + 1] if is_broken else ""
        return whole, incomplete

    def format_completion(self, item: "CompletionItem[str]") -> str:
        """click's format, without what precedes the last colon: bash keeps that."""
        return f"{item.type},{str(item.value).removeprefix(self._kept_prefix)}"


add_completion_class(Bash)
