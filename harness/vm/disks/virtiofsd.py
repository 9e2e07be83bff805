"""virtiofsd, which shows a guest a folder of the host; read-only, in a mount namespace of its own.

It takes one connection, from a socket whose name is gone before the guest runs. It ends with that connection, and
with the thread that started it. A user other than root gets a user namespace too, in which it may mount.
Source: QEMU 7.2, docs/tools/virtiofsd.rst; https://gitlab.com/virtio-fs/virtiofsd for the one in Rust.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.core.errors import HostError
from harness.host.process.die_with_parent import die_with_parent
from harness.host.requirements import REQUIREMENTS, SBIN_PATHS

# The folder is bound onto itself to be made read-only for virtiofsd, whatever a guest asks of it.
SCRIPT = (
    'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && '
    'exec "$2" --fd="$3" -o source="$1" -o sandbox=chroot -o cache=auto'
)


class Virtiofsd:
    """One process that serves one guest, which connects to its listening socket; as a context it is ended where
    no such guest comes to be."""

    def __init__(self, folder: Path, listening: socket.socket) -> None:
        """Raises `HostError` where virtiofsd or unshare is missing."""
        program = shutil.which("virtiofsd") or shutil.which("virtiofsd", path=":".join(SBIN_PATHS))
        if program is None:
            packages = " or ".join(REQUIREMENTS["virtiofsd"].packages)
            raise HostError("virtiofsd is missing.", f"Install {packages} (in Debian 12: qemu-system-common).")
        own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
        namespaces = ["unshare", *own_user, "--mount", "--"]
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process runs)
        with listening:
            number = str(listening.fileno())
            try:
                self._process = subprocess.Popen(
                    die_with_parent([*namespaces, "sh", "-c", SCRIPT, "sh", str(folder), program, number]),
                    stdin=subprocess.DEVNULL, stdout=self._words, stderr=self._words,
                    pass_fds=[listening.fileno()], start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                self._words.close()
                raise HostError(f"setpriv can't be run: {error.strerror}.", "Install util-linux.") from error

    def words(self) -> str:
        """What it said."""
        return os.pread(self._words.fileno(), 1 << 16, 0).decode("utf-8", "replace").strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind:
            self.end()

    def end(self) -> None:
        """End it, if it has not ended with its guest."""
        self._process.kill()
        self._process.wait()
        self._words.close()


def line() -> tuple[socket.socket, socket.socket]:
    """A listening socket without a name, and the one connection that it will accept."""
    listening, connected = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with tempfile.TemporaryDirectory(prefix="osv-harness-share-") as folder:
        path = f"{folder}/line"
        listening.bind(path)
        listening.listen(1)
        connected.connect(path)
    return listening, connected
