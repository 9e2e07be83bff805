"""The OSv checkout that the user names: checks that it is one, and reads its state and files.

It is only read, and only with `git`, with optional locks off so that not even its index is refreshed.
"""

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.core.errors import CheckoutError, HostError
from harness.host.cache import digest_of
from harness.host.in_lab import checkout_outside

LANDMARKS = ("loader.cc", "scripts/build", "scripts/module.py", "conf/base.mk")
"""Files that every OSv checkout has had since its kernel configuration moved to conf/."""

HASHED_UP_TO = 64 << 20
"""Bytes. A larger uncommitted file is identified by size and time, as hashing it would take seconds."""

LINEAGE = 1000
"""How many commits are recorded: measurements within so many commits of each other can be put in order."""

DISK_FULL = (os.strerror(errno.ENOSPC), "Out of diskspace")
"""git's messages for a full disk (the second: csum-file.c)."""


@dataclass(frozen=True, slots=True)
class State:
    """What a checkout holds.

    `version` is OSv's name for itself, `digest` the hex SHA-256 of all content, and `changes` the paths that
    differ from `commit` (a submodule at another commit is one change).
    """

    version: str
    commit: str
    digest: str
    changes: tuple[str, ...]

    @property
    def dirty(self) -> bool:
        """Whether anything differs from the commit."""
        return bool(self.changes)

    def __str__(self) -> str:
        if not self.changes:
            return self.version
        named = ", ".join(self.changes[:3]) + (" …" if len(self.changes) > 3 else "")
        return f"{self.version} with {len(self.changes)} uncommitted change(s): {named}"


class Checkout:
    """An OSv source tree under git, with its submodules. Raises `CheckoutError` if it is not one."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        if not self.root.is_dir():
            raise CheckoutError(
                f"There is no OSv checkout at {self.root}.",
                "Set OSV_ROOT (or --osv-root) to the folder of an OSv checkout with its submodules.",
            )
        if missing := [name for name in LANDMARKS if not (self.root / name).exists()]:
            raise CheckoutError(
                f"{self.root} is not an OSv checkout: it has no {missing[0]}.",
                "Set OSV_ROOT (or --osv-root) to the top folder of an OSv checkout.",
            )
        if not (self.root / ".git").exists():
            raise CheckoutError(
                f"{self.root} holds OSv's sources but is not a git checkout.",
                "Name a clone made by git: results are recorded by commit.",
            )

    def require_submodules(self, *paths: str) -> None:
        """Raise `CheckoutError` with those of `paths` that are empty submodules. A lab builds nothing, so it needs
        none."""
        if checkout_outside(self.root):
            return
        registered = gitlinks(self.root)
        if absent := [path for path in paths if path in registered and not populated(self.root / path)]:
            raise CheckoutError(
                f"The OSv checkout {self.root} lacks its submodule(s) {', '.join(absent)}.",
                f"Run: git -C {self.root} submodule update --init --recursive {' '.join(absent)}",
            )

    def musl(self) -> str:
        """The submodule behind the link `musl`, as the kernel's sources choose it."""
        link = self.root / "musl"
        return str(link.readlink()) if link.is_symlink() else "musl"

    def configures(self) -> bool:
        """Whether its build has a configuration step, as all commits after v0.57.0 have."""
        return (self.root / "conf/Makefile").is_file()

    def state(self) -> State:
        """What the checkout holds now; takes a fraction of a second if little is uncommitted. In a lab, which
        cannot change it, the state that was read outside."""
        if known := checkout_outside(self.root):
            return State(**{**known["state"], "changes": tuple(known["state"]["changes"])})
        parts, changes = _state(self.root)
        commit = str(parts["head"])
        try:
            version = run_git(self.root, "describe", "--tags", "--match", "v[0-9]*").decode().strip()
        except CheckoutError:  # a shallow clone has no tags
            version = f"v0-g{commit[:8]}"
        return State(version, commit, digest_of(parts), tuple(changes))

    def committed(self) -> float:
        """When the commit was made, in seconds since 1970."""
        if known := checkout_outside(self.root):
            return float(known["committed"])
        return float(run_git(self.root, "show", "--no-patch", "--format=%ct", "HEAD"))

    def lineage(self) -> tuple[tuple[str, str], ...]:
        """The newest commits up to the checked-out one, each with its parents, separated by blanks. Unknown in a
        lab: it is recorded outside."""
        if checkout_outside(self.root):
            return ()
        output = run_git(self.root, "rev-list", "--parents", f"--max-count={LINEAGE}", "HEAD").decode()
        return tuple((line[:40], line[41:]) for line in output.splitlines())

    def files(self) -> Iterator[PurePosixPath]:
        """Every file and symbolic link that is tracked, or untracked and not ignored, including submodules."""
        return _files(self.root, PurePosixPath())


def _state(repository: Path) -> tuple[dict[str, object], list[str]]:
    head, changes, nested = _status(repository)
    links = gitlinks(repository)
    content: dict[str, str] = {path: _content(repository / path) for path in changes}
    names = list(content)
    inner: dict[str, object] = {}
    for path in sorted({*links, *nested}):
        if not populated(repository / path):
            inner[path] = "absent"
            continue
        inner[path], within = _state(repository / path)
        inside = inner[path]
        assert isinstance(inside, dict)
        if path in links and inside["head"] != links[path]:
            names.append(path)
        names += [f"{path}/{name}" for name in within]
    return {"head": head, "content": content, "submodules": inner}, names


def _status(repository: Path) -> tuple[str, list[str], list[str]]:
    """The commit, the changed and untracked files, and the untracked repositories inside."""
    shown = ("--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--ignore-submodules=all")
    output = run_git(repository, "status", *shown)
    head = ""
    changes: list[str] = []
    nested: list[str] = []
    rows = iter(output.decode(errors="surrogateescape").split("\0"))
    for row in rows:
        kind, _, rest = row.partition(" ")
        if row.startswith("# branch.oid "):
            head = row.rpartition(" ")[2]
        elif kind == "?":
            (nested if rest.endswith("/") else changes).append(rest.rstrip("/"))
        elif kind == "1":
            changes.append(rest.split(" ", 7)[7])
        elif kind == "2":
            changes += [rest.split(" ", 8)[8], next(rows)]
        elif kind == "u":
            changes.append(rest.split(" ", 9)[9])
    return head, sorted(set(changes)), nested


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if not path.is_file():
        return "deleted"
    status = path.stat()
    mode = "x" if status.st_mode & 0o100 else "-"
    if status.st_size > HASHED_UP_TO:
        return f"{mode} {status.st_size} {status.st_mtime_ns}"
    with path.open("rb") as file:
        return f"{mode} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _files(repository: Path, prefix: PurePosixPath) -> Iterator[PurePosixPath]:
    output = run_git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted(set(output.decode(errors="surrogateescape").split("\0")) - {""}):
        path = repository / name
        if path.is_symlink() or path.is_file():
            yield prefix / name
        elif populated(path):
            yield from _files(path, prefix / name)


def populated(path: Path) -> bool:
    """Whether the folder is a repository."""
    return (path / ".git").exists()


def gitlinks(repository: Path) -> dict[str, str]:
    """Submodule paths and the commits at which this repository wants them."""
    links = {}
    for row in run_git(repository, "ls-files", "--stage", "-z").decode(errors="surrogateescape").split("\0"):
        if row.startswith("160000 "):
            meta, _, path = row.partition("\t")
            links[path] = meta.split()[1]
    return links


def run_git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git; returns what it prints. `stdin` is its standard input. Raises `CheckoutError` with its last lines,
    `HostError` without git or if the disk is full."""
    # safe.directory: containers often run as another user than the owner of the checkout; we only read it.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-C", str(repository), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(command, capture_output=True, check=True, env=environment, input=stdin)
    except FileNotFoundError as error:
        raise HostError("git is not installed.", "Install the package git.") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        if any(full in line for full in DISK_FULL for line in words):
            raise HostError(f"git found no space left for {repository}.", "Free some space there.") from error
        raise CheckoutError(
            f"git can't read {repository}: {words[-1] if words else f'it ended with {error.returncode}'}",
            f"See what `git -C {repository} status` says.",
        ) from error
    return done.stdout
