"""A shell line that repeats a run, from any shell of this host and any folder.

It names the harness's own program, the checkout or the files of an already built kernel, the folder of the
evidence, and the environment variables that the harness uses. None of them is part of an image: a checkout may be
moved, and the image in the cache stays the same.
"""

import functools
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import harness
from harness.core import project
from harness.core.cell import Cell
from harness.core.text import one_line
from harness.host import in_lab
from harness.kernels.prebuilt.kernel import options_of
from harness.runner.session import Session

PROGRAM = "osv-harness"
HEEDED = (
    "OSV_HARNESS_CACHE", "OSV_HARNESS_DEBIAN_MIRROR", "OSV_HARNESS_AWS_INSTANCE", "OSV_HARNESS_GCE_BUCKET",
    "OSV_HARNESS_GCE_MACHINE", "OSV_HARNESS_GCE_ZONE",
)  # fmt: skip
"""Environment variables that change a run."""

USUAL_PATH = frozenset(f"{top}/{name}" for top in ("/usr/local", "/usr", "") for name in ("bin", "sbin"))
"""Folders of programs in which every shell looks."""


def test_again(session: Session, cell: Cell, name: str, runs: Path | None) -> str:
    """The line for an in-guest test of the cell; `runs` is the folder of evidence, if there is one."""
    return _line(session, cell, ["test", str(cell), name, *_fork(session), *_files(session), *_runs(runs)])


def replay_again(session: Session, cell: Cell, seed: str, runs: Path | None) -> str:
    """The line for a seed."""
    return _line(session, cell, ["replay", seed, *_runs(runs)])


def conform_again(session: Session, cell: Cell, name: str, runs: Path | None) -> str:
    """The line for a program that OSv's cell and its counterpart of Linux run."""
    return _line(session, cell, ["conform", str(cell), name, *_runs(runs)])


def app_again(
    session: Session, cell: Cell, name: str, loads: Iterable[str] | None, duration: float | None, runs: Path
) -> str:
    """The line for an app with the given loads (None: all of its own), each of `duration` seconds."""
    words = ["app", "run", name, "--cell", str(cell)]
    for load in loads or ():
        words += ["--load", load]
    words += ["--duration", f"{duration:g}"] if duration is not None else []
    return _line(session, cell, [*words, *_runs(runs)])


def item_again(session: Session, cell: Cell, folder: Path, item: str, runs: Path) -> str:
    """The line for what only pytest runs: the item with that id, from the folder at which its id begins."""
    words = [item, "--cell", str(cell), *_fork(session), *_files(session), *_runs(runs)]
    entered = _lab_words()
    words = [*_program(), *entered, "pytest", *words] if entered else [sys.executable, "-m", "pytest", *words]
    return f"cd {shlex.quote(str(folder))} && {_with(_environment(session, cell), words)}"


def on_worker(line: str, worker: str, host: str) -> str:
    """The line of a run on a farm's worker, marked as that worker's."""
    return f"# It ran on the worker {one_line(worker)} of {one_line(host)}; this is for a shell there.\n{line}"


def _line(session: Session, cell: Cell, words: Sequence[str]) -> str:
    return _with(_environment(session, cell), [*_program(), *_lab_words(), *words])


def _with(environment: Mapping[str, str], words: Sequence[str]) -> str:
    settings = [f"{name}={_value(name, value)}" for name, value in environment.items()]
    return " ".join([*settings, shlex.join(words)])


def _value(name: str, value: str) -> str:
    """A variable for a shell; its folders come before those of the shell where the line is pasted."""
    return f'{shlex.quote(value)}:"$PATH"' if name == "PATH" else shlex.quote(value)


def _environment(session: Session, cell: Cell) -> dict[str, str]:
    found = _tools() | {name: value for name in HEEDED if (value := os.environ.get(name))}
    if any(project.own_files()):
        found[project.VARIABLE] = str(project.folder())
    if "OSV_HARNESS_CACHE" in found:
        found["OSV_HARNESS_CACHE"] = str(Path(found["OSV_HARNESS_CACHE"]).absolute())
    if cell.kernel == "osv" and session.osv_root and not session.files:
        found["OSV_ROOT"] = str(session.osv_root.absolute())
    if not _installed():
        found["PYTHONPATH"] = str(_home())
    return found


def _tools() -> dict[str, str]:
    """Folders of programs in which not every shell looks, without those that only a lab has."""
    own = in_lab.python_outside().parent
    folders = [Path(name).absolute() for name in os.environ.get("PATH", "").split(os.pathsep) if name]
    hosts = [path for path in folders if path != own and not path.is_relative_to(in_lab.HOST_FACTS_FILE.parent)]
    unusual = [str(path) for path in hosts if str(path) not in USUAL_PATH and path.is_dir()]
    return {"PATH": os.pathsep.join(dict.fromkeys(unusual))} if unusual else {}


def _lab_words() -> list[str]:
    arch = os.environ.get(in_lab.VARIABLE)
    return ["lab", "--arch", arch, "--"] if arch else []


def _runs(runs: Path | None) -> list[str]:
    return ["--runs", str(runs.absolute())] if runs else []


def _fork(session: Session) -> list[str]:
    return ["--fork"] if session.fork else []


def _files(session: Session) -> list[str]:
    return options_of(session.files) if session.files else []


def _program() -> list[str]:
    """The harness's own program, wherever it is; beside its Python if it was installed there."""
    python = in_lab.python_outside()
    program = python.with_name(PROGRAM)
    return [str(program)] if program.is_file() else [str(python), "-m", f"{harness.__name__}.cli"]


def _home() -> Path:
    """The folder that the harness was imported from."""
    return Path(harness.__file__).parents[1]


@functools.cache
def _installed() -> bool:
    """Whether this Python imports this very harness wherever it is started."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", f"import {harness.__name__} as it; print(it.__file__)"]
    limit = in_lab.lab_timeout(60)
    asked = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=limit)
    return asked.stdout.strip() == harness.__file__
