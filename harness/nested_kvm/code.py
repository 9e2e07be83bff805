"""The harness's own code for a lab, compiled: there, under TCG, compiling would take longer than many a test."""

import hashlib
import py_compile
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.cache import Cache

PACKAGE = Path(harness.__file__).parent


def code(cache: Cache) -> Path:
    """A folder with what is in the package `harness` now, and the bytecode of its modules beside them.

    The bytecode is not checked against the source, whose times an initramfs does not keep.
    """
    sources = hashlib.sha256()
    for path in _files():
        sources.update(f"{path.relative_to(PACKAGE)} {path.stat().st_size}\n".encode())
        sources.update(path.read_bytes())
    parts = {"sources": sources.hexdigest(), "python": [sys.implementation.cache_tag, sys.hexversion]}
    return cache.get("lab-code", parts, _compile)


def _files() -> Iterator[Path]:
    return (path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.parent.name != "__pycache__")


def _compile(out: Path) -> None:
    for path in _files():
        copy = out / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        if path.suffix == ".py":
            compiled = copy.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(path), str(compiled), str(path), doraise=True, invalidation_mode=unchecked)
