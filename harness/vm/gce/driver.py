"""Google Compute Engine: machines in Google's cloud, driven by the tool `gcloud`; they cost money.

The bootable disk goes as a tarball into the bucket that OSV_HARNESS_GCE_BUCKET names, becomes an image, and the
machine boots from it. Only what has the run's own name in the cloud is changed, and a reaper removes it.
"""

import os
import secrets
import tarfile
from collections.abc import Sequence
from pathlib import Path

from harness.core.close_on_error import close_on_error
from harness.core.errors import HostError
from harness.core.machine import Machine
from harness.host.process.reaper import Reaper
from harness.host.temp_dir import temporary_dir
from harness.vm.common.cloud_vm import CloudVm
from harness.vm.common.command_line_tool import COMMAND_SECONDS, program, run_tool
from harness.vm.common.unsupported import reject_network, reject_unsupported
from harness.vm.disks.bootable import write_bootable
from harness.vm.gce import commands

CURE = "Install gcloud (https://cloud.google.com/sdk), and tell it of a project: gcloud init."
BUCKET, ZONE, KIND = "OSV_HARNESS_GCE_BUCKET", "OSV_HARNESS_GCE_ZONE", "OSV_HARNESS_GCE_MACHINE"
ENDED = {"TERMINATED", "STOPPED", "STOPPING"}
GIB = 1 << 30
IMAGE_SECONDS = 600.0
"""How long an upload, and an image made of it, may take."""


class GceInstance:
    """One machine; creating the object creates the image that it boots from."""

    running = "RUNNING"

    def __init__(self, name: str, machine: Machine, bucket: str, zone: str, reaper: Reaper) -> None:
        self.name = name
        self._zone = zone
        self._reaper = reaper
        with temporary_dir("osv-harness-gce-") as folder:
            self._tool(commands.upload(str(_tarball(machine, folder)), bucket, name), IMAGE_SECONDS)
        self._tool(commands.create_image(name, bucket), IMAGE_SECONDS)
        kind = os.environ.get(KIND, "e2-small")
        self.command = tuple(commands.create_instance(name, kind, zone))

    def run(self) -> None:
        self._tool(self.command)

    def output(self) -> bytes:
        return self._tool(commands.serial_output(self.name, self._zone)).encode()

    def state(self) -> str:
        word = self._tool(commands.state(self.name, self._zone)).strip()
        return "" if word in ENDED else word

    def power_off(self) -> None:
        self._tool(commands.stop_instance(self.name, self._zone))

    def _tool(self, command: Sequence[str], seconds: float = COMMAND_SECONDS) -> str:
        return run_tool(command, inherited=self._reaper.inherited(), seconds=seconds)


class Gce:
    """Starts machines at Google Compute Engine."""

    name = "gce"

    def start(self, machine: Machine) -> CloudVm:
        reject_unsupported(machine, "GCE", "virtio-scsi")
        reject_network(machine, "GCE")
        program("gcloud", CURE)
        bucket = os.environ.get(BUCKET)
        if bucket is None:
            raise HostError("No bucket for the disk is named.", f"Name one of yours in {BUCKET}.")
        name, zone = f"osv-harness-{secrets.token_hex(6)}", os.environ.get(ZONE, "us-central1-a")
        reaper = Reaper(commands.undo(name, zone, bucket))
        with close_on_error(reaper):
            return CloudVm(GceInstance(name, machine, bucket, zone, reaper), reaper)


def driver() -> Gce:
    """The driver for the axis value `gce`."""
    return Gce()


def _tarball(machine: Machine, folder: Path) -> Path:
    """The disk as GCE requires it: `disk.raw`, of whole GiB, in a gzipped tar of GNU's old format."""
    raw, packed = folder / "disk.raw", folder / "disk.tar.gz"
    write_bootable(machine, raw)
    os.truncate(raw, -(-raw.stat().st_size // GIB) * GIB)
    with tarfile.open(packed, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as tar:
        tar.add(raw, "disk.raw")
    return packed
