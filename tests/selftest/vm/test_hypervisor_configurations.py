"""What hypervisors that a host lacks are told is read as it is meant, by xl's own parser."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bootable_machine import maker

from harness.core.errors import HypervisorError
from harness.core.machine import Devices, Machine
from harness.host import debian_packages
from harness.runner.session import Session
from harness.vm.hyperkit.driver import command_line
from harness.vm.virtualbox.commands import creation
from harness.vm.vmware.vmx import read_vmx, vmx
from harness.vm.xen.config import configuration

XEN_PACKAGES = ("xen-utils-4.17",)
SHIM = Path(__file__).parents[1] / "data/xl_shim.c"


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine of a hypervisor, with a disk that a firmware would boot and a second one."""
    return maker(tmp_path)


@pytest.fixture(scope="module")
def xl(
    session: Session, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Gives a configuration to the parser of Debian's xl; returns what that said."""
    if shutil.which("gcc") is None or os.uname().machine != "x86_64":
        pytest.skip("xl's parser is tried on x86_64, with a C compiler")
    root = debian_packages.fetch(XEN_PACKAGES, "x86_64", session.cache).root
    program = next(root.glob("usr/lib/xen-*/bin/xl"))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    # The host's may be of another release than these libraries, and ends xl in its first call then.
    loader = root / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    folder = tmp_path_factory.mktemp("xl")
    shim = folder / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(shim), str(SHIM), "-ldl"], check=True)
    start = [str(loader), "--library-path", libraries, "--preload", str(shim), str(program)]
    environment = os.environ | {"XENSTORED_PATH": "/dev/zero"}

    def parse(text: str) -> subprocess.CompletedProcess[str]:
        file = folder / "domain.cfg"
        file.write_text(text)
        command = [*start, "-N", "create", str(file)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return parse


def test_xl_reads_a_pvh_guest_as_it_is_meant(
    machine: Callable[[str], Machine], xl: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    wanted = replace(machine("xen"), devices=Devices(board="pvh"))
    done = xl(configuration(wanted, "osv-harness-1", ["/disks/0", "/disks/1"]))
    read = json.loads(done.stdout)
    assert read["c_info"]["type"] == "pvh"
    assert read["c_info"]["name"] == "osv-harness-1"
    assert read["b_info"]["max_vcpus"] == 2
    assert read["b_info"]["max_memkb"] == 256 << 10
    assert read["b_info"]["cmdline"] == wanted.cmdline
    assert read["b_info"]["kernel"] == str(wanted.image.kernel)
    assert [(disk["pdev_path"], disk["vdev"], disk["format"]) for disk in read["disks"]] == [
        ("/disks/0", "xvda", "raw"), ("/disks/1", "xvdb", "raw"),
    ]  # fmt: skip


def test_xl_reads_an_hvm_guest_as_it_is_meant(
    machine: Callable[[str], Machine], xl: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    wanted = machine("xen")  # OSv on x86_64, which has neither console nor disks as pvh
    read = json.loads(xl(configuration(wanted, "osv", ["/disks/0"])).stdout)
    assert read["c_info"]["type"] == "hvm"
    assert read["b_info"]["type.hvm"]["serial"] == "pty"
    assert read["b_info"]["type.hvm"]["boot"] == "c"
    assert read["b_info"]["type.hvm"]["vnc"] == {"enable": "False"}
    assert "kernel" not in read["b_info"]
    assert [disk["vdev"] for disk in read["disks"]] == ["hda"]


def test_xl_sees_a_configuration_that_is_wrong(
    machine: Callable[[str], Machine], xl: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    """Else the tests above would say nothing."""
    done = xl(configuration(machine("xen"), "osv", ["/disks/0"]).replace("format=raw", "format=nothing"))
    assert done.returncode
    assert "nothing" in done.stderr


def test_a_vmx_file_says_what_osvs_own_does_and_listens_nowhere(machine: Callable[[str], Machine]) -> None:
    said = read_vmx(vmx(machine("vmware"), "osv-harness-1", ["disk0.vmdk", "disk1.vmdk"]))
    assert said["scsi0.virtualDev"] == "pvscsi"
    assert said["hpet0.present"] == "TRUE"
    assert [said[f"scsi0:{index}.fileName"] for index in (0, 1)] == ["disk0.vmdk", "disk1.vmdk"]
    assert (said["memsize"], said["numvcpus"]) == ("256", "2")
    assert (said["serial0.fileType"], said["serial0.pipe.endPoint"]) == ("pipe", "client")
    assert not [key for key in said if key.startswith(("debugStub", "ethernet", "RemoteDisplay"))]
    with pytest.raises(HypervisorError):
        read_vmx('memsize = "256"\nmemsize = "257"\n')


def test_virtualbox_is_told_of_an_ahci_disk_an_hpet_and_a_serial_socket(machine: Callable[[str], Machine]) -> None:
    told = creation(machine("virtualbox"), "osv", "/folder", ["/folder/0", "/folder/1"], "/folder/serial")
    words = [" ".join(command) for command in told]
    assert all(command[1] == "osv" or "--name osv" in text for command, text in zip(told, words, strict=True))
    assert "storagectl osv --name SATA --add sata --controller IntelAHCI --portcount 2" in words
    assert any("--hpet on" in text for text in words)
    assert any(text.endswith("--uartmode1 client /folder/serial") for text in words)
    assert any("--nic1 none" in text and "--vrde off" in text for text in words)
    assert [text.rsplit(" ", 1)[1] for text in words if text.startswith("storageattach")] == [
        "/folder/0",
        "/folder/1",
    ]


def test_hyperkits_command_line_has_the_serial_line_and_the_disks(machine: Callable[[str], Machine]) -> None:
    words = " ".join(command_line(machine("hyperkit"), "/rom", ["/a", "/b"]))
    assert "-l com1,stdio" in words
    assert "-s 2:0,ahci-hd,/a -s 3:0,ahci-hd,/b" in words
