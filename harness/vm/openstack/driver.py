"""OpenStack: servers in a cloud of the user's, driven by openstacksdk, which pip install 'osv-harness[openstack]'
brings; they may cost money.

The bootable disk becomes an image, from which the server boots. Only what has the run's own name in the cloud is
changed, and a reaper removes it.
"""

import os
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.close_on_error import close_on_error
from harness.core.errors import HostError, HypervisorError
from harness.core.machine import Machine
from harness.host.process.reaper import Reaper
from harness.host.temp_dir import temporary_dir
from harness.vm.common.cloud_vm import CloudVm
from harness.vm.common.command_line_tool import run_tool
from harness.vm.common.unsupported import reject_network, reject_unsupported
from harness.vm.disks.bootable import write_bootable

if TYPE_CHECKING:
    from harness.vm.openstack.cloud import Cloud

CURE = "pip install 'osv-harness[openstack]', and name a cloud of clouds.yaml in OS_CLOUD."
FLAVOR = "OSV_HARNESS_OPENSTACK_FLAVOR"
REMOVE = (sys.executable, "-P", "-m", "harness.vm.openstack", "remove")
GIB = 1 << 30


class OpenStackServer:
    """One server; creating the object creates the image that it boots from."""

    running = "ACTIVE"

    def __init__(self, name: str, machine: Machine, cloud: "Cloud") -> None:
        self.name = name
        self._cloud = cloud
        self._server = ""
        self._asked_to_end = False
        self._heard = b""
        with temporary_dir("osv-harness-openstack-") as folder:
            disk, gib = _disk(machine, folder)
            self._flavor = cloud.flavor(os.environ.get(FLAVOR, ""), machine.cpus, machine.memory, gib)
            self._image = cloud.upload(name, disk)
        # What its command-line client would be told; the SDK asks for the same.
        self.command: tuple[str, ...] = (
            "openstack", "server", "create", "--image", self._image, "--flavor", self._flavor, "--nic", "none",
            name,
        )  # fmt: skip

    def run(self) -> None:
        self._asked_to_end = False
        self._server = self._cloud.create(self.name, self._image, self._flavor)

    def output(self) -> bytes:
        if self._cloud.status(self._server) != "BUILD":
            said = self._cloud.console(self._server)
            self._heard = self._heard if said is None else said.encode("utf-8", "backslashreplace")
        return self._heard

    def state(self) -> str:
        word = self._cloud.status(self._server)
        if word != "SHUTOFF":
            return word
        if not self._asked_to_end and (user := self._cloud.stopped_by(self._server)):
            raise HypervisorError(f"OpenStack's server was stopped by a user, {user}.")
        return ""

    def power_off(self) -> None:
        self._asked_to_end = True
        self._cloud.stop(self._server)


class OpenStack:
    """Starts machines in an OpenStack cloud."""

    name = "openstack"

    def start(self, machine: Machine) -> CloudVm:
        reject_unsupported(machine, "OpenStack", "virtio-blk")
        reject_network(machine, "OpenStack")
        if find_spec("openstack") is None:
            raise HostError("openstacksdk is missing.", CURE)
        from harness.vm.openstack.cloud import Cloud

        cloud = Cloud()
        name = f"osv-harness-{secrets.token_hex(6)}"
        reaper = Reaper([*REMOVE, name])
        with close_on_error(reaper):
            return CloudVm(OpenStackServer(name, machine, cloud), reaper)


def driver() -> OpenStack:
    """The driver for the axis value `openstack`."""
    return OpenStack()


def _disk(machine: Machine, folder: Path) -> tuple[Path, int]:
    """The disk without its zeros, and the GiB that it has as a server's disk."""
    raw, disk = folder / "raw", folder / "disk.qcow2"
    write_bootable(machine, raw)
    run_tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)])
    return disk, -(-raw.stat().st_size // GIB)
