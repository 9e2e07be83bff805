"""Runs virtiofsd, which shares a folder of the host with a guest: read-only, in a mount namespace of its own.

It accepts one connection, from a socket whose name is removed before the guest runs. It ends with that connection,
and with the thread that started it. A user other than root gets a user namespace too, in which it may mount.
Source: QEMU 7.2, docs/tools/virtiofsd.rst; https://gitlab.com/virtio-fs/virtiofsd for the one in Rust.
"""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from harness.core.close_on_error import close_on_error
from harness.core.errors import HostError
from harness.host.process.supervised import SupervisedProcess
from harness.host.requirements import REQUIREMENTS, SBIN_PATHS

# The folder is bound onto itself to be made read-only for virtiofsd, whatever a guest asks of it.
SCRIPT = (
    'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && '
    'exec "$2" --fd="$3" -o source="$1" -o sandbox=chroot -o cache=auto'
)


def start_virtiofsd(folder: Path, listening: socket.socket) -> SupervisedProcess:
    """Start the server of one guest, which connects to the listening socket; this closes our copy of it. Raises
    `HostError` if virtiofsd or setpriv is missing."""
    with listening:
        program = shutil.which("virtiofsd") or shutil.which("virtiofsd", path=":".join(SBIN_PATHS))
        if program is None:
            packages = " or ".join(REQUIREMENTS["virtiofsd"].packages)
            raise HostError("virtiofsd is missing.", f"Install {packages} (in Debian 12: qemu-system-common).")
        own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
        fd = listening.fileno()
        command = ["unshare", *own_user, "--mount", "--", "sh", "-c", SCRIPT, "sh", str(folder), program, str(fd)]
        return SupervisedProcess("virtiofsd", command, fds=[fd])


def line() -> tuple[socket.socket, socket.socket]:
    """A listening socket without a name, and the one connection that it will accept."""
    listening, connected = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with (
        close_on_error(listening),
        close_on_error(connected),
        tempfile.TemporaryDirectory(prefix="osv-harness-share-") as folder,
    ):
        path = f"{folder}/line"
        listening.bind(path)
        listening.listen(1)
        connected.connect(path)
    return listening, connected
