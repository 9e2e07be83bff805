"""Debian packages of either architecture, unpacked together with their dependencies; none is installed.

`mmdebstrap --variant=extract` resolves and fetches them without root and runs none of their scripts, so an x86_64
host can unpack arm64 packages. The suite is Debian's bookworm on every host, verified by its keyring; builders
have others.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.host import fetch_failures
from harness.host.cache import Cache
from harness.host.process.die_with_parent import run_with_parent

SUITE = "bookworm"
MIRROR = "http://deb.debian.org"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MOST_NAMED = 12
"""How many packages a message names."""

# Most of the bytes, and read by no program under test.
UNREAD = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "var/cache")


@dataclass(frozen=True, slots=True)
class Tree:
    """Packages unpacked under `root`; `versions` maps each of them to its Debian version."""

    root: Path
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages come from: the archives (`debian bookworm-updates`) of one suite, on a server that the
    variable `mirror_in` may replace. `keyring` proves their lists; `any_age` takes lists that are out of date."""

    suite: str
    archives: tuple[str, ...]
    components: str = "main"
    mirror: str = MIRROR
    mirror_in: str = "OSV_HARNESS_DEBIAN_MIRROR"
    keyring: Path = KEYRING
    any_age: bool = False

    @property
    def maker(self) -> str:
        """Whose packages they are, for people."""
        return self.archives[0].partition(" ")[0].capitalize()

    def server(self) -> str:
        """The server, without the archive's name."""
        return os.environ.get(self.mirror_in, self.mirror).rstrip("/")


BOOKWORM = Source(SUITE, (f"debian {SUITE}", f"debian {SUITE}-updates", f"debian-security {SUITE}-security"))


def fetch(packages: Sequence[str], arch: str, cache: Cache, backports: bool = False) -> Tree:
    """The named packages and all their dependencies, unpacked for `arch` (`x86_64`, `aarch64`).

    `backports` prefers the suite's backports. The first fetch pins the versions for as long as the cache keeps it:
    a baseline must not move by itself. `OSV_HARNESS_DEBIAN_MIRROR` names another mirror, such as a dated one of
    snapshot.debian.org. Raises `HostError` if mmdebstrap or Debian's keyring is missing, `BuildError` with apt's
    messages.
    """
    parts = source_parts(packages, arch) | ({"backports": True} if backports else {})
    data = cache.get("debian", parts, lambda out: _fetch(packages, arch, backports, out))
    return Tree(data / "root", json.loads((data / "versions.json").read_text()))


def _of_apt(words: str) -> str:
    """apt's errors in mmdebstrap's output, or the end of the output if there are none."""
    lines = [line for line in words.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ") and not re.match(r"E: (apt|mmdebstrap)", line)]
    return "\n".join(errors[:6] or lines[-12:])


def source_parts(packages: Sequence[str], arch: str) -> dict[str, object]:
    """The parts of a fetch's cache key."""
    return {"packages": sorted(packages), "arch": arch, "suite": SUITE, "mirror": mirror(), "layout": 1}


def mirror() -> str:
    """The server of packages, without the archive's name (`/debian`)."""
    return BOOKWORM.server()


def _fetch(packages: Sequence[str], arch: str, backports: bool, out: Path) -> None:
    newer = f"{SUITE}-backports"
    preferred = [f'--aptopt=APT::Default-Release "{newer}"'] if backports else []
    added = (f"debian {newer}",) if backports else ()
    extract(packages, arch, replace(BOOKWORM, archives=(*BOOKWORM.archives, *added)), out, preferred)


def extract(packages: Sequence[str], arch: str, source: Source, out: Path, more: Sequence[str] = ()) -> None:
    """Unpack the packages and their dependencies into `out/root`, with their versions in `out/versions.json`.
    `more` are further arguments of mmdebstrap. Raises what `fetch` raises."""
    for program in ("mmdebstrap", "apt-get"):
        if shutil.which(program) is None:
            raise HostError(f"{program} is missing, which fetches Debian's packages.", f"Install {program}.")
    if not source.keyring.exists():
        raise HostError(
            f"{source.keyring} is missing, which proves that packages are {source.maker}'s.",
            f"Install {source.keyring.stem}.",
        )
    root = out / "root"
    server = source.server()
    options = f"signed-by={source.keyring}" + (" check-valid-until=no" if source.any_age else "")
    archives = (archive.split() for archive in source.archives)
    command = [
        "mmdebstrap",
        "--variant=extract",
        # The only mode without root and user namespaces; nothing runs in the tree anyway.
        "--mode=chrootless",
        "--format=directory",
        # Nothing is installed, so there is no status file: the names of the kept .debs give the versions.
        "--skip=cleanup/apt/cache",
        # Since 1.5 it refuses root outside a chroot, because of maintainers' scripts: none runs here.
        "--skip=check/chrootless",
        f"--architectures={ARCHITECTURES[arch]}",
        *more,
        f"--include={','.join(packages)}",
        source.suite,
        str(root),
        *(f"deb [{options}] {server}/{archive} {suite} {source.components}" for archive, suite in archives),
    ]
    others = f" and {len(packages) - MOST_NAMED} more" if len(packages) > MOST_NAMED else ""
    named = ", ".join(packages[:MOST_NAMED]) + others
    publish("packages.fetching", named, f"{source.suite} {ARCHITECTURES[arch]} from {server}")
    done = run_with_parent(command, os.environ | {"LC_ALL": "C.UTF-8"})
    if done.returncode != 0:
        words = done.stdout + done.stderr
        what = f"{source.maker}'s packages {named} ({ARCHITECTURES[arch]})"
        where = f"{source.maker}'s {source.suite} at {server}"
        cure = fetch_failures.cure(words, where, out.parents[2], source.mirror_in)
        raise BuildError(f"{what} could not be fetched:\n{_of_apt(words)}", cure)
    debs = (deb.stem.split("_") for deb in (root / "var/cache/apt/archives").glob("*.deb"))
    versions = {name: unquote(version) for name, version, _ in debs}
    (out / "versions.json").write_text(json.dumps(versions, sort_keys=True, indent=1))
    for folder in UNREAD:
        shutil.rmtree(root / folder, ignore_errors=True)
