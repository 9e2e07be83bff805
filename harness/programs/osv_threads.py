"""Every thread of a guest of OSv that stands, through gdb and OSv's own scripts of the commit that was built.

gdb joins the debug stub by a private socket. It is given a bounded time and dies with the harness; what it says is
the guest's memory put into words, so it is made safe to show.
"""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

from harness.console.transcript import printable
from harness.hypervisors._gdb_socket import gdb_socket
from harness.machine import Image
from harness.patience import Patience
from harness.source_lines import LoadedObject, SourceLines
from harness.tied import tied_group

SCRIPT = Path(__file__).with_name("osv_gdb_script.py")
SECONDS = 60.0
LONGEST = 1 << 20  # bytes of what is said
ARCHES = {"x86_64": "x64", "aarch64": "aarch64"}
NAMES = {"x86_64": "i386:x86-64", "aarch64": "aarch64"}
SETTINGS = (
    "set auto-load off", "set confirm off", "set pagination off", "set width 0", "set debuginfod enabled off",
    "set style enabled off", "set trust-readonly-sections on", "set print elements 200", "set remotetimeout 20",
)  # fmt: skip


def threads(debug: socket.socket, image: Image, objects: Sequence[LoadedObject]) -> str:
    """What gdb says of the threads of the standing guest, or one line that says why they are not known."""
    scripts = image.symbols.parent / "scripts" if image.symbols else None
    if image.symbols is None or scripts is None or not (scripts / "loader.py").is_file():
        return "Threads are not known: OSv's scripts for gdb are not beside the kernel's symbols.\n"
    program, why = _gdb(image.cell.arch)
    if program is None:
        return f"Threads are not known: {why}\n"
    lines = SourceLines(image.symbols, image.manifest)
    files = [(str(file), one.base) for one in objects if (file := lines.host_file(one))]
    with gdb_socket(debug) as path:
        given = {"scripts": str(scripts), "arch": ARCHES[image.cell.arch], "socket": str(path), "objects": files}
        command = [program, "-nx", "-batch"]
        for setting in SETTINGS:
            command += ["-iex", setting]
        command += ["-ex", f"source {SCRIPT}", str(image.symbols)]
        environment = {
            **os.environ, "OSV_HARNESS_GDB": json.dumps(given), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)  # gdb has a Python of its own
        return _say(command, environment)


def _say(command: Sequence[str], environment: dict[str, str]) -> str:
    """What the command says within its time, made safe."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        with tied_group(command, said, errors, environment=environment) as process:
            patience = Patience(process.pid, SECONDS)
            while process.poll() is None and (left := patience.seconds()):
                with suppress(TimeoutExpired):
                    process.wait(left)
            in_time = process.poll() is not None
        said.seek(0)
        text = _safe(said.read(LONGEST))
        errors.seek(0)
        trouble = [line for line in _safe(errors.read(LONGEST)).splitlines() if not line.startswith("warning:")]
    if not in_time:
        text += f"gdb was ended after {SECONDS:.0f} s: there may be more threads.\n"
    elif process.returncode or not text:
        text += f"gdb ended with status {process.returncode}: {' '.join(trouble[-3:]) or 'it said nothing'}\n"
    return text


def _safe(text: bytes) -> str:
    return "".join(f"{printable(line)}\n" for line in text.splitlines())


def _gdb(arch: str) -> tuple[str | None, str]:
    """A gdb that knows the arch; or none, and why."""
    if found := shutil.which("gdb-multiarch"):
        return found, ""
    found = shutil.which("gdb")
    if found is None or arch != os.uname().machine:
        return None, "gdb-multiarch is not installed." if found else "gdb is not installed."
    return found, ""
