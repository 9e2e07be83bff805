"""A machine as commands of VBoxManage: pure functions, so that they can be read and tested.

Source: OSv's scripts/gen-vbox-ova.sh (AHCI, HPET, COM1); VirtualBox's manual, chapter "VBoxManage", and "Serial
Ports" for one that is connected to a socket.
"""

from collections.abc import Sequence

from harness.core.machine import Machine


def creation(machine: Machine, name: str, folder: str, disks: Sequence[str], serial: str) -> list[list[str]]:
    """The commands that create the machine; its serial line connects to the socket `serial`."""
    commands = [
        ["createvm", "--name", name, "--ostype", "Linux26_64", "--basefolder", folder, "--register"],
        ["modifyvm", name, "--memory", str(machine.memory), "--cpus", str(machine.cpus)],
        ["modifyvm", name, "--hpet", "on", "--ioapic", "on", "--rtcuseutc", "on"],
        ["modifyvm", name, "--nic1", "none", "--audio", "none", "--vrde", "off", "--usb", "off"],
        ["modifyvm", name, "--uart1", "0x3f8", "4", "--uartmode1", "client", serial],
        ["modifyvm", name, "--boot1", "disk", "--boot2", "none", "--boot3", "none", "--boot4", "none"],
        ["storagectl", name, "--name", "SATA", "--add", "sata", "--controller", "IntelAHCI",
         "--portcount", str(max(1, len(disks)))],
    ]  # fmt: skip
    commands += [
        ["storageattach", name, "--storagectl", "SATA", "--port", str(index), "--device", "0", "--type", "hdd",
         "--medium", disk]
        for index, disk in enumerate(disks)
    ]  # fmt: skip
    return commands
