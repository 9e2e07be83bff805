"""A machine as a .vmx file: a pure function, so that it can be read and tested.

Source: OSv's scripts/run.py (start_osv_vmware), without its debug stub, NAT network and telnet port, which anybody
could reach; VMware's "Configuration File Options" for serial ports over pipes.
"""

import re
from collections.abc import Mapping, Sequence

from harness.core.errors import HypervisorError
from harness.core.machine import Machine

LINE = re.compile(r'^([\w.:]+) = "([^"\n]*)"$')
SERIAL_PIPE = "serial"


def vmx(machine: Machine, name: str, disks: Sequence[str]) -> str:
    """The text of the file: a pvscsi disk for each vmdk, and a serial line on a pipe that VMware connects to."""
    rows = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": "8",
        "displayName": name,
        "guestOS": "ubuntu-64",
        "memsize": str(machine.memory),
        "numvcpus": str(machine.cpus),
        "hpet0.present": "TRUE",
        "pciBridge0.present": "TRUE",
        "pciBridge4.present": "TRUE",
        "pciBridge4.virtualDev": "pcieRootPort",
        "pciBridge4.functions": "8",
        "floppy0.present": "FALSE",
        "scsi0.present": "TRUE",
        "scsi0.virtualDev": "pvscsi",
        "serial0.present": "TRUE",
        "serial0.fileType": "pipe",
        "serial0.fileName": SERIAL_PIPE,
        "serial0.pipe.endPoint": "client",
        "serial0.startConnected": "TRUE",
        "msg.autoAnswer": "TRUE",
    }
    for index, disk in enumerate(disks):
        rows |= {f"scsi0:{index}.present": "TRUE", f"scsi0:{index}.fileName": disk}
    return "".join(f'{key} = "{_checked(value)}"\n' for key, value in rows.items())


def read_vmx(text: str) -> Mapping[str, str]:
    """The settings of a .vmx file. Raises `HypervisorError` for an invalid or repeated line."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None or match[1] in found:
            raise HypervisorError(f"This is no line of a .vmx file: {line!r}")
        found[match[1]] = match[2]
    return found


def _checked(value: str) -> str:
    if '"' in value or "\n" in value:
        raise HypervisorError(f"A .vmx file can't hold {value!r}.")
    return value
