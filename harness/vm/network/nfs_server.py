"""Runs a server of NFS 3 and 4 in a guest's network: the program Ganesha, and the rpcbind that NFS 3 needs.

Both are in mount and process namespaces of their own, which hold their exports and state in memory and vanish with
them. It needs root: a file is opened by its handle, which takes CAP_DAC_READ_SEARCH outside of any user namespace.
Source: ganesha-core-config(8), ganesha-export-config(8), rpcbind(8), open_by_handle_at(2).
"""

import os
import select
import shutil
from contextlib import ExitStack
from time import monotonic

from harness.core.errors import HostError
from harness.core.text import printable
from harness.host.netns import HOST_ADDRESS, NFS_EXPORT, nsenter_command
from harness.host.process.supervised import SupervisedProcess
from harness.host.process.timeout import CpuFairTimeout
from harness.host.requirements import SBIN_PATHS

PROGRAMS = ("ganesha.nfsd", "rpcbind")
READY = b"NFS SERVER INITIALIZED"
READY_SECONDS = 60.0

CONFIGURATION = f"""
NFS_CORE_PARAM {{ Protocols = 3, 4; Bind_addr = {HOST_ADDRESS}; Enable_RQUOTA = false; }}
NFSv4 {{ Graceless = true; RecoveryRoot = /mnt/state; }}
EXPORT {{
    Export_Id = 1; Path = {NFS_EXPORT}; Pseudo = {NFS_EXPORT}; FSAL {{ Name = VFS; }}
    Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Protocols = 3, 4; Transports = TCP;
}}
LOG {{ Default_Log_Level = EVENT; }}
"""

SCRIPT = f"""set -e
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs -o size=1m,mode=755 none /run
mount -t tmpfs -o size=256m,mode=755,nodev,nosuid,noexec none /mnt
mkdir -m 777 {NFS_EXPORT}
mkdir /mnt/state /run/rpcbind
printf %s "$1" > /mnt/ganesha.conf
rpcbind
exec ganesha.nfsd -F -f /mnt/ganesha.conf -L STDOUT -p /mnt/pid
"""


class NfsServer:
    """The server for one guest, in the network of the guest's process."""

    def __init__(self, pid: int) -> None:
        """Start it; it serves when this returns. Raises `HostError` with the server's message."""
        there = os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN_PATHS))
        if missing := [name for name in PROGRAMS if shutil.which(name, path=there) is None]:
            raise HostError(
                f"{' and '.join(missing)} missing.", "Install the packages nfs-ganesha-vfs and rpcbind."
            )
        apart = ["unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "--"]
        self._words, theirs = os.pipe()
        os.set_blocking(theirs, False)  # what nobody reads any more must not hold the server
        with ExitStack() as held:
            held.callback(os.close, self._words)
            try:
                command = [*nsenter_command(pid), *apart, "sh", "-c", SCRIPT, "nfs", CONFIGURATION]
                self._process = held.enter_context(SupervisedProcess("The NFS server", command, stdout=theirs))
            finally:
                os.close(theirs)
            self._wait_until_ready()
            self._held = held.pop_all()

    def _wait_until_ready(self) -> None:
        timeout = CpuFairTimeout(self._process.pid, READY_SECONDS)
        output, until = b"", monotonic() + timeout.seconds()
        while READY not in output:
            came = select.select([self._words], [], [], max(0.0, until - monotonic()))[0]
            more = os.read(self._words, 1 << 12) if came else b""
            if not came and (longer := timeout.seconds()):
                until = monotonic() + longer
            elif not more:
                last = printable(output.strip().rpartition(b"\n")[2])
                why = "; ".join(part for part in (last, self._process.log_tail()) if part)
                raise HostError(
                    f"The NFS server does not come up: {why or 'it says nothing'}",
                    "It is ganesha.nfsd, and takes root: see what `osv-harness doctor` says of it.",
                )
            output += more

    def close(self) -> None:
        """Stop it, with all that it exports."""
        self._held.close()
