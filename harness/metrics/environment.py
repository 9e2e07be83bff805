"""Reads where this machine's numbers come from."""

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
    """This machine as guests of `arch` find it now; its load is that of the last minute.

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
    """The model's name, or on aarch64, where Linux tells none, its implementer's and part's numbers."""
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
    """What sets the clock of the first cpu; `none` where that is not told, as in most guests."""
    try:
        return GOVERNOR.read_text().strip() or "none"
    except OSError:
        return "none"
