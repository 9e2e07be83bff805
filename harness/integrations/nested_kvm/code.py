"""The harness's own code for a lab, compiled in advance: compiling under TCG takes longer than many tests."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.core.errors import BuildError
from harness.host.cache import Cache
from harness.host.process.die_with_parent import run_with_parent
from harness.integrations.nested_kvm.unpacked import Interpreter

PACKAGE = Path(harness.__file__).parent
OUR_PYTHON = Interpreter((sys.executable,), {}, sys.version)


def code(cache: Cache, python: Interpreter = OUR_PYTHON) -> Path:
    """A folder with the files of the package `harness`, and the bytecode of its modules for that Python."""
    sources = hashlib.sha256()
    for path in _files():
        sources.update(f"{path.relative_to(PACKAGE)} {path.stat().st_size}\n".encode())
        sources.update(path.read_bytes())
    parts = {"sources": sources.hexdigest(), "python": python.version, "place": str(PACKAGE)}

    def make(out: Path) -> None:
        for path in _files():
            copy = out / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        compile_folder(python, out, str(PACKAGE))

    return cache.get("lab-code", parts, make)


def compile_folder(python: Interpreter, folder: Path, place: str) -> None:
    """Put the bytecode of a folder's modules beside them. `place` is the path that the folder will have.

    The bytecode is not checked against the source, because an initramfs does not keep the source's times. A module
    that can't be compiled is left as it is: importing it raises the error. Raises `BuildError` if Python compiles
    nothing.
    """
    words = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", place]
    done = run_with_parent([*python.command, *words, str(folder)], {**os.environ, **python.environment})
    if not next(folder.rglob("*.pyc"), None):
        output = (done.stdout + done.stderr).strip().splitlines()[-4:]
        raise BuildError("Python's modules could not be compiled for a lab:\n" + "\n".join(output))


def _files() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.parent.name != "__pycache__")
