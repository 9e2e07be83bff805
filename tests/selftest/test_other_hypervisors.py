"""Xen, VMware, VirtualBox, HyperKit, Hyper-V, AWS and GCE as far as a host without them can show.

Configurations are given to tools that read them: Xen's to xl's own parser, AWS's commands to aws itself, a
bootable disk to a PC's firmware. Tools that no package brings are stood in for in their transport only, which
boots nothing.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tool_standin import SAID

from harness.availability import Standing, Survey
from harness.cell import Cell
from harness.errors import HostError, HypervisorError
from harness.guest import Guest
from harness.host_needs import NEEDS
from harness.hypervisors import Cause, Vm, driven, hypervisor
from harness.hypervisors import _aws_commands as aws
from harness.hypervisors._bootable_disk import COMMAND_LINE_AT, LONGEST_COMMAND_LINE, write_bootable
from harness.hypervisors._remote import unheard
from harness.hypervisors._serial_socket import SerialSocket
from harness.hypervisors._virtualbox_commands import creation
from harness.hypervisors._vmx import read_vmx, vmx
from harness.hypervisors._xen_config import configuration
from harness.hypervisors.hyperkit import command_line
from harness.images import packages
from harness.lab import Lab
from harness.machine import Devices, Disk, Image, Machine
from harness.matrix import Matrix

HERE = Path(__file__).parent
TOOLS = {"xen": ("xl",), "vmware": ("vmrun",), "virtualbox": ("VBoxManage", "VBoxHeadless"), "gce": ("gcloud",)}
LOCAL = ("xen", "vmware", "virtualbox")
XEN_PACKAGES = ("xen-utils-4.17",)


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine of a hypervisor, with a disk that a firmware would boot and a second one."""
    raw, disk, second = tmp_path / "raw", tmp_path / "usr.img", tmp_path / "second"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + b"an older command line".ljust(1 << 16, b"\0"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)], check=True)
    second.write_bytes(b"second".ljust(4096))

    def make(name: str) -> Machine:
        image = Image(
            Cell("osv", "x86_64", name, "rofs", "all"), tmp_path / "loader-stripped.elf", "--rootfs=rofs",
            "digest", (Disk(disk, "qcow2"),),
        )  # fmt: skip
        return Machine(image, '--rootfs=rofs --env="A=b c" /hello', 2, 256, disks=(Disk(second),))

    return make


@dataclass(frozen=True)
class StandIn:
    """A hypervisor whose tools are the stand-in, which plays with files in a folder."""

    name: str
    machine: Machine
    folder: Path

    def start(self) -> Vm:
        return hypervisor(self.name).start(self.machine)

    def said(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""


@pytest.fixture(params=[*LOCAL, "gce"])
def standin(
    request: pytest.FixtureRequest, machine: Callable[[str], Machine], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StandIn]:  # fmt: skip
    """The stand-in as the first tool in PATH; after the test no machine, process or file is left."""
    name: str = request.param
    programs, folder = tmp_path / "bin", tmp_path / "standin"
    for path in (programs, folder):
        path.mkdir()
    short = tempfile.TemporaryDirectory(dir="/tmp")  # sockets are made in it, whose names are short
    request.addfinalizer(short.cleanup)
    temporary = Path(short.name)
    for tool in TOOLS[name]:
        script = programs / tool
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "tool_standin.py"} "$0" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("OSV_HARNESS_STANDIN", str(folder))
    monkeypatch.setenv("OSV_HARNESS_GCE_BUCKET", "bucket")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("harness.hypervisors._remote.POLL_SECONDS", 0.05)
    monkeypatch.setattr("harness.hypervisors.gce.GIB", 1 << 20)
    yield StandIn(name, machine(name), folder)
    assert _soon(lambda: not (folder / "runs").exists()), "a machine is left"
    assert _soon(lambda: not list(temporary.iterdir())), "a file is left"
    assert _soon(lambda: not _processes(str(tmp_path))), "a process is left"


# ---- what a configuration says ----


@pytest.fixture(scope="module")
def xl(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Gives a configuration to the parser of Debian's xl; returns what that said."""
    if shutil.which("gcc") is None or os.uname().machine != "x86_64":
        pytest.skip("xl's parser is tried on x86_64, with a C compiler")
    root = packages.fetch(XEN_PACKAGES, "x86_64", lab.cache).root
    program = next(root.glob("usr/lib/xen-*/bin/xl"))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    folder = tmp_path_factory.mktemp("xl")
    shim = folder / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(shim), str(HERE / "xl_shim.c"), "-ldl"], check=True)
    own = {"LD_PRELOAD": str(shim), "LD_LIBRARY_PATH": libraries, "XENSTORED_PATH": "/dev/zero"}
    settings = [f"{name}={value}" for name, value in own.items()]

    def parse(text: str) -> subprocess.CompletedProcess[str]:
        file = folder / "domain.cfg"
        file.write_text(text)
        command = ["env", *settings, str(program), "-N", "create", str(file)]
        return subprocess.run(command, capture_output=True, text=True)

    return parse


def test_xl_reads_a_pvh_guest_as_it_is_meant(
    machine: Callable[[str], Machine], xl: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    wanted = machine("xen")
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
    wanted = replace(machine("xen"), devices=Devices(board="hvm"))
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


AWS_COMMANDS = {
    command[2]: command
    for command in (
        aws.start_snapshot("osv-harness-1", 1), aws.complete_snapshot("snap-1", 2), aws.await_snapshot("snap-1"),
        aws.register_image("osv-harness-1", "snap-1"), aws.run_instance("osv-harness-1", "ami-1", "t3.small"),
        aws.console_output("i-1"), aws.state("i-1"), aws.stop_instance("i-1"),
        aws.put_block("snap-1", 0, __file__, 1, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    )
}  # fmt: skip


@pytest.mark.parametrize("verb", AWS_COMMANDS)
def test_aws_itself_finds_nothing_wrong_in_a_command(verb: str) -> None:
    """It reads a command, holds it against AWS's own model of the service, and then fails to reach anything."""
    if shutil.which("aws") is None:
        pytest.skip("aws is missing: pip install 'osv-harness[aws]'")
    closed = ["--endpoint-url", "http://127.0.0.1:1", "--region", "us-east-1"]
    nobody = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody", "AWS_MAX_ATTEMPTS": "1"}
    environment = {**os.environ, **nobody}
    done = subprocess.run([*AWS_COMMANDS[verb], *closed], capture_output=True, text=True, env=environment)
    assert "Could not connect to the endpoint URL" in done.stderr, done.stderr


# ---- a disk that boots ----


def test_a_boot_disk_has_the_machines_command_line_and_the_original_is_left(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    wanted = machine("vmware")
    before = wanted.image.disks[0].path.read_bytes()
    write_bootable(wanted, tmp_path / "boot")
    data = (tmp_path / "boot").read_bytes()
    assert data[COMMAND_LINE_AT:].partition(b"\0")[0] == wanted.cmdline.encode()
    assert len(data) % (1 << 20) == 0
    assert wanted.image.disks[0].path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [("no boot sector", "no boot sector"), ("no disk", "boots from a disk"), ("long", "and 32255 fit")],
)
def test_what_can_not_be_booted_is_refused_with_the_reason(
    machine: Callable[[str], Machine], tmp_path: Path, change: str, words: str
) -> None:
    wanted = machine("vmware")
    if change == "no boot sector":
        wanted = replace(wanted, image=replace(wanted.image, disks=wanted.disks))
    elif change == "no disk":
        wanted = replace(wanted, image=replace(wanted.image, disks=()))
    else:
        wanted = replace(wanted, cmdline="x" * (LONGEST_COMMAND_LINE + 1))
    with pytest.raises(HypervisorError, match=words):
        write_bootable(wanted, tmp_path / "boot")


def test_a_pcs_firmware_boots_the_disk_with_the_command_line(lab: Lab, tmp_path: Path) -> None:
    """As VirtualBox would: from an AHCI disk, with no kernel given, here under QEMU's BIOS."""
    if lab.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")
    image = lab.image(lab.cell("osv:x86_64-qemu-rofs"))
    write_bootable(Machine(image, f"{image.cmdline} --verbose /tests/tst-hello.so"), tmp_path / "boot")
    command = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none"]
    command += ["-no-reboot", "-serial", "stdio", "-device", "ich9-ahci,id=ahci"]
    command += ["-drive", f"if=none,id=boot,format=raw,snapshot=on,file={tmp_path / 'boot'}"]
    command += ["-device", "ide-hd,drive=boot,bus=ahci.0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    assert b"Cmdline: /tests/tst-hello.so" in done.stdout, done.stdout[-2000:]
    assert b"Powering off." in done.stdout


# ---- the way there and back ----


def test_a_machine_is_made_and_started_and_its_console_heard(standin: StandIn) -> None:
    with closing(standin.start()) as vm:
        assert SAID.encode() not in _available(vm)
        vm.resume()
        with Guest(standin.machine, vm) as guest:
            guest.console.expect(SAID, timeout=30)
            assert vm.trouble() == ""
            assert vm.ending(0.0) is None
            vm.stop()
            ending = vm.ending(30)
            assert ending is not None
            assert ending.cause is Cause.STOPPED


def test_an_end_of_its_own_is_told_and_closes_the_console(standin: StandIn) -> None:
    with closing(standin.start()) as vm, Guest(standin.machine, vm) as guest:
        vm.resume()
        guest.console.expect(SAID, timeout=30)
        (standin.folder / "runs").unlink()
        assert guest.wait(lambda: guest.closed, time.monotonic() + 30)
        ending = vm.ending(30)
        assert ending is not None
        assert ending.cause is Cause.POWERED_OFF


@pytest.mark.parametrize("standin", ["xen"], indirect=True)
@pytest.mark.parametrize(("reason", "cause"), [(1, Cause.RESET), (3, Cause.PANICKED), (4, Cause.KILLED)])
def test_xens_reason_of_an_end_is_told(standin: StandIn, reason: int, cause: Cause) -> None:
    (standin.folder / "why").write_text(str(reason))
    with closing(standin.start()) as vm:
        assert [(vcpu.pc, vcpu.cpu_seconds) for vcpu in vm.vcpus()] == [(None, 12.5)]
        (standin.folder / "runs").unlink()
        ending = vm.ending(30)
        assert ending is not None
        assert ending.cause is cause


@pytest.mark.parametrize("standin", LOCAL, indirect=True)
def test_a_tool_that_fails_is_quoted_safely(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = {"xen": "xl create", "vmware": "vmrun start", "virtualbox": "storagectl"}[standin.name]
    monkeypatch.setenv("OSV_HARNESS_STANDIN_REFUSES", refuses)
    with pytest.raises(HypervisorError, match="out of luck") as caught:
        standin.start()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", [*LOCAL, "gce", "aws"])
def test_a_tool_that_is_missing_is_named_with_its_cure(
    machine: Callable[[str], Machine], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if name == "xen" and Path("/usr/sbin/xl").exists():
        pytest.skip("this host has xl")
    with pytest.raises(HostError) as caught:
        hypervisor(name).start(machine(name))
    assert "missing" in caught.value.happened
    assert caught.value.cure


@pytest.mark.parametrize("name", ["hyperkit", "hyperv"])
def test_what_no_linux_host_has_is_refused_with_another_way(machine: Callable[[str], Machine], name: str) -> None:
    with pytest.raises(HostError) as caught:
        hypervisor(name).start(machine(name))
    assert "qemu" in caught.value.cure


@pytest.mark.parametrize("name", [*LOCAL, "aws", "gce"])
@pytest.mark.parametrize("change", [{"control": True}, {"counted": True}, {"network": True}])
def test_what_they_lack_is_refused(machine: Callable[[str], Machine], name: str, change: dict[str, bool]) -> None:
    with pytest.raises(HypervisorError) as caught:
        hypervisor(name).start(replace(machine(name), **change))  # type: ignore[arg-type]
    assert "qemu" in caught.value.cure


def test_a_folder_with_too_long_a_name_for_a_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / ("x" * 100)).mkdir()
    with pytest.raises(HostError, match="too long") as caught:
        SerialSocket(tmp_path / ("x" * 100) / "serial")
    assert "TMPDIR" in caught.value.cure


@pytest.mark.parametrize("standin", LOCAL, indirect=True)
def test_a_killed_harness_leaves_no_machine(standin: StandIn, tmp_path: Path) -> None:
    """SIGKILL: the keeper ends the machine, and removes its folder."""
    machine = standin.machine
    source = f"""
import sys, time
sys.path[:0] = [{str(HERE.parents[1])!r}]
from harness.machine import *
from harness.cell import Cell
from pathlib import Path
from harness.hypervisors import hypervisor
disk = Disk(Path({str(machine.image.disks[0].path)!r}), "qcow2")
cell = Cell("osv", "x86_64", {standin.name!r}, "rofs", "all")
machine = Machine(Image(cell, Path({str(machine.image.kernel)!r}), "", "digest", (disk,)), "/hello")
vm = hypervisor({standin.name!r}).start(machine)
print("started", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as harness:
        assert harness.stdout
        assert harness.stdout.readline() == b"started\n"
        harness.send_signal(signal.SIGKILL)
    if standin.name == "virtualbox":  # its machine is our child, and the stand-in's file is not
        (standin.folder / "runs").unlink()


def test_of_a_clouds_output_what_is_new_is_passed_on() -> None:
    assert unheard(b"", b"one") == b"one"
    assert unheard(b"one", b"one two") == b" two"
    assert unheard(b"one two", b"one two") == b""
    assert unheard(b"one two three", b"two three four") == b" four"
    assert unheard(b"one", b"two") == b"two"


def test_every_hypervisor_of_the_matrix_is_driven_and_says_what_its_host_must_have(lab: Lab) -> None:
    matrix = Matrix.load()
    assert set(matrix.axes["hypervisor"].values) <= driven()
    survey = Survey(matrix, lab.host, driven(), Path("/osv"))
    for name in set(matrix.axes["hypervisor"].values) - {"qemu", "qemu_microvm"}:
        cells = [cell for cell in matrix.cells("osv") if cell.hypervisor == name and not matrix.invalid(cell)]
        found = survey.of(next(cell for cell in cells if cell.fs != "virtiofs"))
        assert found.standing is not Standing.NOT_DRIVEN
        rules = [rule for rule in matrix.host_rules if rule.when.get("hypervisor") == frozenset({name})]
        assert [need for rule in rules for need in rule.needs if need in NEEDS], name


def _available(vm: Vm) -> bytes:
    """What the console has to say without waiting."""
    os.set_blocking(vm.console.fileno(), False)
    try:
        return os.read(vm.console.fileno(), 4096)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(vm.console.fileno(), True)


def _soon(done: Callable[[], bool]) -> bool:
    for _ in range(200):
        if done():
            return True
        time.sleep(0.05)
    return False


def _processes(mark: str) -> list[int]:
    """The other processes with the mark on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
