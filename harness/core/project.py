"""The harness's data: what ships with it, and a project's own files, which take precedence.

A project is a folder: the one that `OSV_HARNESS_PROJECT` names, or else the current one. Its `matrix.toml` and
`variants.toml` replace those that ship, entries of its `expectations.toml` precede those that ship, and rows of
its `builders.toml` and its `apps/NAME.toml` are further builders and apps, or replace those with the same name.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError

SHIPPED = Path(__file__).parent / "data"
VARIABLE = "OSV_HARNESS_PROJECT"
NAMES = ("matrix.toml", "variants.toml", "builders.toml", "expectations.toml")


def folder() -> Path:
    """The project's folder."""
    return Path(os.environ.get(VARIABLE) or ".").absolute()


def choose(wanted: Path) -> None:
    """Make it the project of this process and of its children. Raises `HarnessError` if it is no folder."""
    if not wanted.is_dir():
        raise HarnessError(f"There is no folder {wanted}, which was to be the project.", "Check --project.")
    os.environ[VARIABLE] = str(wanted.absolute())


def file(name: str) -> Path:
    """The file of that name: the project's, or the one that ships."""
    return next(iter(files(name)), SHIPPED / name)


def files(name: str) -> list[Path]:
    """Every file of that name, the project's first."""
    places = dict.fromkeys((folder() / name, SHIPPED / name))
    return [path for path in places if path.is_file()]


@cache
def shipped_values(axis: str) -> Mapping[str, Mapping[str, Any]]:
    """What the `matrix.toml` that ships says of each value of an axis.

    These rows name modules. A project's own file is not asked: a folder of data names no code that is run.
    """
    values: Mapping[str, Mapping[str, Any]] = read(SHIPPED / "matrix.toml")["axis"][axis]["values"]
    return values


def apps() -> dict[str, Path]:
    """The file of each app, by the app's name."""
    found: dict[str, Path] = {}
    for place in (SHIPPED, folder()):
        found |= {path.stem: path for path in (place / "apps").glob("*.toml") if path.is_file()}
    return dict(sorted(found.items()))


def own_files() -> Iterator[Path]:
    """The files of the project itself; none if the project is the folder that ships."""
    if folder() != SHIPPED:
        yield from (path for name in NAMES if (path := folder() / name).is_file())
        for pattern in ("apps/*.toml", "apps/source/*"):
            yield from sorted(path for path in folder().glob(pattern) if path.is_file())


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises `HarnessError` with the place of the error."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        cure = "Check that it is there, and whose it is."
        raise HarnessError(f"{path} can't be read: {error.strerror}.", cure) from error
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise HarnessError(f"{path} is no text in UTF-8: {where}.", "Mend it there.") from error
    except tomllib.TOMLDecodeError as error:
        raise HarnessError(f"{path} is no TOML: {error}.", "Mend it there.") from error
