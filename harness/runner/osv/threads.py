"""Describes every thread of a stopped guest of OSv, by gdb and OSv's own scripts of the commit that was built.

gdb connects to the debug stub by a private socket. Its time is limited, and it dies with the harness. Its output
describes a guest's memory, so it is made safe to show.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from harness.core.machine import Image
from harness.core.text import printable_lines
from harness.host.process.die_with_parent import supervised_group
from harness.host.process.timeout import CpuFairTimeout
from harness.kernels.prebuilt.kernel import ALREADY_BUILT
from harness.kernels.source_lines import LoadedObject, SourceLines
from harness.vm.gdb_socket import gdb_socket

SCRIPT = Path(__file__).with_name("gdb_script.py")
SECONDS, LONGEST_SECONDS = 60.0, 240.0  # of gdb's own time, and of the clock on the wall
LONGEST = 1 << 20  # bytes of what is said
ARCHES = {"x86_64": "x64", "aarch64": "aarch64"}
NAMES = {"x86_64": "i386:x86-64", "aarch64": "aarch64"}
SETTINGS = (
    "set auto-load off", "set confirm off", "set pagination off", "set width 0", "set debuginfod enabled off",
    "set style enabled off", "set trust-readonly-sections on", "set print elements 200", "set remotetimeout 20",
)  # fmt: skip


def threads(debug: socket.socket, image: Image, objects: Sequence[LoadedObject]) -> str:
    """gdb's description of the stopped guest's threads, or one line that says why there is none."""
    if image.facts.get("files") == ALREADY_BUILT:  # they would be run on this host, and not in a guest
        return "Threads are not known: OSv's scripts for gdb are only run from a checkout that is built here.\n"
    scripts = image.symbols.parent / "scripts" if image.symbols else None
    if image.symbols is None or scripts is None or not (scripts / "loader.py").is_file():
        return "Threads are not known: OSv's scripts for gdb are not beside the kernel's symbols.\n"
    program, why = _gdb(image.cell.arch)
    if program is None:
        return f"Threads are not known: {why}\n"
    lines = SourceLines(image.symbols, image.manifest)
    files = [(str(file), one.base) for one in objects if (file := lines.host_file(one))]
    with gdb_socket(debug) as path:
        out = path.with_name("threads")
        out.touch()
        given = {
            "scripts": str(scripts), "arch": ARCHES[image.cell.arch], "socket": str(path), "objects": files,
            "out": str(out),
        }  # fmt: skip
        command = [program, "-nx", "-batch"]
        for setting in SETTINGS:
            command += ["-iex", setting]
        command += ["-ex", f"source {SCRIPT}", str(image.symbols)]
        settings = {"OSV_HARNESS_GDB": json.dumps(given), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
        gdb_error = _run(command, environment)
        with out.open("rb") as output:
            return "".join(f"{line}\n" for line in printable_lines(output.read(LONGEST))) + gdb_error


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Run gdb within its time limit; returns what went wrong, as a line, or an empty text."""
    with tempfile.TemporaryFile() as words:
        with supervised_group(command, subprocess.DEVNULL, words, environment=environment) as process:
            timeout = CpuFairTimeout(process.pid, SECONDS)
            latest = monotonic() + LONGEST_SECONDS
            while process.poll() is None and (left := min(timeout.seconds(), latest - monotonic())) > 0:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(left)
            in_time = process.poll() is not None
        words.seek(0)
        lines = [line for line in printable_lines(words.read(LONGEST)) if not line.startswith("warning:")]
    if not in_time:
        return "gdb was ended, for it took too long: there may be more threads.\n"
    if process.returncode:
        return f"gdb ended with status {process.returncode}: {' '.join(lines[-3:]) or 'it lines nothing'}\n"
    return ""


def _gdb(arch: str) -> tuple[str | None, str]:
    """A gdb that knows the arch; or none, and why."""
    if found := shutil.which("gdb-multiarch"):
        return found, ""
    found = shutil.which("gdb")
    if found is None or arch != os.uname().machine:
        return None, "gdb-multiarch is not installed." if found else "gdb is not installed."
    return found, ""
