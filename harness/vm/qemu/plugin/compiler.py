"""Compiles the plugins of QEMU beside this file, each when it is first needed.

Source: QEMU, docs/devel/tcg-plugins.rst, qemu-plugin.h.
"""

import shutil
from pathlib import Path

from harness.core.errors import BuildError, HostError
from harness.host.cache import Cache
from harness.host.process.die_with_parent import run_with_parent

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
INTERFACES = (((9, 2), 4), ((9, 1), 3), ((9, 0), 2), ((0,), 1))
"""The oldest QEMU that has a version of the plugins' interface, and that version."""


def compiled(name: str, cache: Cache, qemu: tuple[int, ...]) -> Path:
    """The plugin `name.c` for that version of QEMU.

    Raises `HostError` without a compiler, `BuildError` with its output.
    """
    source = Path(__file__).with_name(f"{name}.c")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise HostError(f"gcc is missing, which compiles QEMU's plugin {source.name}.", "Install gcc.")
    interface = next(version for oldest, version in INTERFACES if qemu >= oldest)
    command = [compiler, *FLAGS, f"-DINTERFACE={interface}"]
    version = run_with_parent([compiler, "--version"]).stdout.partition("\n")[0]

    def make(out: Path) -> None:
        done = run_with_parent([*command, "-o", str(out / f"{name}.so"), str(source)])
        if done.returncode:
            raise BuildError(f"{source.name} does not compile:\n{done.stderr.strip()[:2000]}")

    made = cache.get("plugin", {"text": source.read_text(), "command": command, "gcc": version}, make)
    return made / f"{name}.so"


def plugin_words(plugin: Path, *given: str) -> list[str]:
    """The words of QEMU's command line for a plugin and what it is given."""
    return ["-plugin", ",".join([str(plugin).replace(",", ",,"), *given])]
