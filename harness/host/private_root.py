"""Runs a command in another system's root, in a mount namespace of its own, without root's rights.

The root's folders are bound read-only beside this host's /proc and /dev, a /tmp of its own, and the few folders
that the command may write to, each under its own name. This host's way to the network and its certificates are
shown too. All of it vanishes with the last process in it.

Source: mount_namespaces(7) and user_namespaces(7), mount(8) on bind,remount, and MNT_LOCK_ flags in Linux's
fs/namespace.c: what a mount forbids must be forbidden again when a bind of it is made read-only.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.host.netns import userns_flags

FOLDERS = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr")
"""What is a root's own, as far as it has it."""

MOUNT_POINT = "mnt"
"""A folder in every root that serves as the mount point; whoever makes a root makes it."""

UNSHARE = "unshare: unshare failed"
"""How unshare(1) begins to say that the kernel, or a container's rules, forbid this user namespaces."""

NO_WAY = "no way into the root"
"""What `ENTER` says below the words of its step that failed."""

CURE = (
    "Run as root, or allow users their own namespaces: sysctl kernel.unprivileged_userns_clone, "
    "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns."
)

ENTER = Path(__file__).with_name("enter_root.sh")


def in_root(
    command: Sequence[str], root: Path, folder: Path, writable: Sequence[Path] = (), shown: Sequence[Path] = ()
) -> list[str]:
    """The command line that runs `command` in the root with `folder` as its working folder. The folders `writable`
    and, to be read alone, `shown` are this host's, by their absolute paths."""
    shared = [str(path.absolute()) for path in writable]
    where = [str(root.absolute()), _flags(root), str(folder.absolute())]
    read = [word for path in shown for word in (str(path.absolute()), _flags(path))]
    return [
        "unshare", *userns_flags(), "--mount", "--propagation", "private", "--",
        "sh", str(ENTER), *where, *shared, "--", *read, "--", *command,
    ]  # fmt: skip


def refusal(lines: Iterable[str]) -> str:
    """Why a root could not be entered, by what was said instead; empty if it was."""
    before = ""
    for line in lines:
        if line.startswith(UNSHARE):
            return line.strip()
        if line.strip() == NO_WAY:
            return before.strip() or NO_WAY
        before = line
    return ""


def _flags(folder: Path) -> str:
    """The options, each after a comma, that the folder's filesystem is mounted with and that a bind must keep."""
    told = os.statvfs(folder).f_flag
    names = ((os.ST_NOSUID, "nosuid"), (os.ST_NODEV, "nodev"), (os.ST_NOEXEC, "noexec"))
    return "".join(f",{name}" for flag, name in names if told & flag)
