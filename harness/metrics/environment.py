"""Reads the environment of this machine's numbers."""

import os
import platform
import re
from pathlib import Path

from harness.host.host import Host
from harness.host.in_lab import recorded
from harness.metrics.firmware import firmware
from harness.metrics.records import Environment

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def environment(host: Host, arch: str) -> Environment:
    """This machine as guests of `arch` find it now. The load is the average of the last minute.

    Raises `HostError` if there is no QEMU for them.
    """
    this = os.uname()
    return Environment(
        host=this.nodename,
        cpu=_cpu(),
        cpus=host.cpus(),
        governor=_governor(),
        accelerator=recorded(host.accelerator(arch)),
        emulator="QEMU " + ".".join(map(str, host.qemu(arch).version)),
        host_kernel=this.release,
        load=os.getloadavg()[0],
        firmware=firmware(host.qemu(arch).path, arch),
    )


def _cpu() -> str:
    """The cpu's model name; on aarch64, where Linux has none, the numbers of implementer and part."""
    try:
        text = CPUINFO.read_text(errors="replace")
    except OSError:
        return platform.machine()
    fields: dict[str, str] = dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.+?)\s*$", text, re.MULTILINE))
    if "model name" in fields:
        return fields["model name"]
    if {"CPU implementer", "CPU part"} <= fields.keys():
        return f"{fields['CPU implementer']} {fields['CPU part']}"
    return platform.machine()


def _governor() -> str:
    """What sets the clock of the first cpu; `none` if it is not known, as in most guests."""
    try:
        return GOVERNOR.read_text().strip() or "none"
    except OSError:
        return "none"
