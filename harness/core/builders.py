"""The builders of builders.toml: other systems whose compiler, linker and Boost build OSv, each a root of its own.

A builder is an option of a cell, `builder=NAME`; a cell without one is built by this host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.core.suggestions import did_you_mean

FILE = "builders.toml"
OPTION = "builder="


@dataclass(frozen=True, slots=True)
class Builder:
    """One row. `what` says for people what it has.

    Its root is made from Debian packages of `suite`, or of a system that is packaged alike, or it is that of the
    image `container`. `archives` are an archive and a suite each; `components` are theirs. `mirror` is the server
    (empty: Debian's), which the variable `mirror_in` replaces, and `keyring` proves its lists. `any_age` takes
    lists of any age. `packages` are those that `[packages]` names, or others in their place; `more` are added to
    them, those in `without` left out. `gcc` is the version of the gcc that compiles, if not the system's usual one
    (`13`). `needs` are capabilities of the host besides the usual ones.
    """

    name: str
    what: str
    suite: str = ""
    archives: tuple[str, ...] = ()
    components: str = "main"
    mirror: str = ""
    mirror_in: str = "OSV_HARNESS_DEBIAN_MIRROR"
    keyring: str = "/usr/share/keyrings/debian-archive-keyring.gpg"
    any_age: bool = False
    container: str = ""
    packages: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    gcc: str = ""
    needs: tuple[str, ...] = ()

    @property
    def installed(self) -> tuple[str, ...]:
        """The packages that its root is made of, without what these depend on."""
        compilers = (f"gcc-{self.gcc}", f"g++-{self.gcc}") if self.gcc else ()
        return tuple(name for name in (*self.packages, *self.more, *compilers) if name not in self.without)

    @property
    def option(self) -> str:
        """The cell's option that names it."""
        return OPTION + self.name


def builders() -> Mapping[str, Builder]:
    """All builders by name: those that ship, then the project's. Raises `HarnessError` for a row that is wrong."""
    return _read(tuple(reversed(project.files(FILE))))


def builder_of(cell: Cell) -> Builder | None:
    """The builder that the cell names, if any. Raises `CellError` for an unknown one."""
    name = next((option.removeprefix(OPTION) for option in cell.options if option.startswith(OPTION)), None)
    if name is None:
        return None
    if name not in builders():
        raise CellError(f"There is no builder {name!r}.", did_you_mean(name, builders()))
    return builders()[name]


def host_rules(rows: Mapping[str, Builder]) -> list[Mapping[str, Any]]:
    """What each builder needs of the host, as rules of the matrix."""
    return [
        {
            "when": {"option": [row.option]},
            "needs": ["builder-{arch}", *(["containers"] if row.container else ["debian-packages"]), *row.needs],
            "reason": f"{row.option} builds in a root {_made_of(row)}, which it enters by namespaces.",
        }
        for row in rows.values()
    ]


def _made_of(row: Builder) -> str:
    return f"out of the container {row.container}" if row.container else f"of packages of the suite {row.suite}"


@cache
def _read(files: tuple[Path, ...]) -> Mapping[str, Builder]:
    found: dict[str, Builder] = {}
    usual: dict[str, Sequence[str]] = {}
    for file in files:
        data = project.read(file)
        usual |= data.get("packages", {})
        for name, row in data.get("builder", {}).items():
            found[name] = _builder(file, name, row, usual)
    return MappingProxyType(found)


def _builder(file: Path, name: str, row: Mapping[str, Any], usual: Mapping[str, Sequence[str]]) -> Builder:
    boost = [f"libboost-{part}-dev" for part in usual.get("boost", ())]
    packages = (*usual.get("system", ()), *usual.get("build", ()), *boost)
    values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in row.items()}
    values = {"packages": packages, **values}
    compare = f"Compare it with those of {project.SHIPPED / FILE}."
    try:
        made = Builder(name, **values)
    except TypeError as error:
        why = str(error).replace("Builder.__init__()", "it")
        raise HarnessError(f"The builder {name} in {file} is none: {why}.", compare) from error
    by_packages = bool(made.suite and made.archives)
    if not name.isidentifier() or by_packages == bool(made.container):
        raise HarnessError(
            f"The builder {name!r} in {file} is none: it wants a name of letters, digits and _, and either a "
            "suite with its archives, or a container.",
            compare,
        )
    return made
