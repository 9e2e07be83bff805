"""Writes the first draft of an app's file, from the content of a Debian package."""

import json
import re
from difflib import SequenceMatcher
from pathlib import Path

from harness.core import project
from harness.core.arch import host_arch
from harness.core.errors import HarnessError
from harness.core.whole_files import write_whole
from harness.host import debian_packages
from harness.host.cache import Cache

SHOWN = 8
BINARIES = ("usr/sbin", "usr/bin", "bin", "sbin", "usr/libexec", "usr/games")


def write_new(name: str, package: str, cache: Cache) -> Path:
    """Write the project's `apps/NAME.toml` for the package's programs.

    Raises `HarnessError` if the app exists already, or if the file can't be written.
    """
    path = project.folder() / "apps" / f"{name}.toml"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise HarnessError(f"{name!r} is no name for an app.", "Use a-z, 0-9, - and . only.")
    if there := project.apps().get(name):
        raise HarnessError(f"There is an app {name} already: {there}.", "Choose another name, or edit it.")
    tree = debian_packages.fetch((package,), host_arch(), cache)
    programs = _programs(tree.root)
    programs.sort(key=lambda program: -SequenceMatcher(None, Path(program).name, package).ratio())
    write_whole(
        path,
        f"summary = {json.dumps(f'{name}, of Debian {debian_packages.SUITE}')}\n"
        f"packages = {json.dumps([package])}\n"
        f"# Other programs of it, or of what it depends on: {', '.join(programs[1:SHOWN]) or 'none'}\n"
        f"programs = {json.dumps(programs[:1])}\n"
        f"command = {json.dumps(programs[0] if programs else '')}\n"
        "memory = 256\n"
        "# A server's guest port, with checks and loads; without one, what it prints before it ends well.\n"
        "# port = 80\n"
        'prints = [""]\n\n'
        "# [[check]]\n"
        '# get = "/"\n\n'
        "# [load.steady]\n"
        '# tool = "locust"\n'
        '# user = "http"\n'
        "# rate = 100\n"
        '# requests = [{ path = "/" }]\n',
        make_folder=True,
    )
    return path


def _programs(root: Path) -> list[str]:
    found = []
    for folder in BINARIES:
        for path in sorted((root / folder).glob("*")) if (root / folder).is_dir() else ():
            if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF":
                found.append(f"/{path.relative_to(root)}")
    return found
