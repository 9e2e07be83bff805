"""A machine as requests to Cloud Hypervisor: pure functions, so that they can be read, tested and checked by its
schema.

Source: Cloud Hypervisor's vmm/src/api/openapi/cloud-hypervisor.yaml and docs/api.md.
"""

from harness.core.machine import Machine
from harness.host.netns import GUEST_MAC, HOST_ADDRESS, NETMASK, TAP
from harness.vm.common.kernel_args import command_line
from harness.vm.common.rest_client import Request
from harness.vm.common.sandbox import INITRD, KERNEL, disk_name
from harness.vm.qemu.devices import SHARE_TAG

BASE = "/api/v1"
PING = Request("GET", "/vmm.ping")
BOOT = Request("PUT", "/vm.boot")
POWER_BUTTON = Request("PUT", "/vm.power-button")
SHARE = "share.sock"


def creation(machine: Machine) -> Request:
    """The request that creates the machine without booting it; its files are links in the process's folder.

    Disks are declared raw, because a guessed one is not writable at its start. The tap's address is given because
    it is set again.
    """
    payload = {"kernel": KERNEL, "cmdline": command_line(machine, "")}
    if machine.image.initrd:
        payload["initramfs"] = INITRD
    config: dict[str, object] = {
        "cpus": {"boot_vcpus": machine.cpus, "max_vcpus": machine.cpus},
        "memory": {"size": machine.memory << 20},
        "payload": payload,
        "rng": {"src": "/dev/urandom"},
        "serial": {"mode": "Tty"},
        "console": {"mode": "Off"},
        "pvpanic": True,
    }
    count = len(machine.image.disks) + len(machine.disks)
    if count:
        config["disks"] = [{"path": disk_name(index), "image_type": "Raw"} for index in range(count)]
    if machine.share:  # virtiofsd reads and writes the guest's memory
        config["memory"] = {"size": machine.memory << 20, "shared": True}
        config["fs"] = [{"tag": SHARE_TAG, "socket": SHARE, "num_queues": 1, "queue_size": 1024}]
    if machine.network:
        config["net"] = [{"tap": TAP, "mac": GUEST_MAC, "ip": HOST_ADDRESS, "mask": NETMASK}]
    return Request("PUT", "/vm.create", config)
