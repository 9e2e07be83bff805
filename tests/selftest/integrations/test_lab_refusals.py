"""What a lab can't do is said in words before one is booted, and what it may be shown is narrow."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from history_records import judged

from harness.cli import main
from harness.cli.lab_preparation import parse_lab_command
from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.host.availability import AvailabilityCheck, Support
from harness.host.host import Host
from harness.host.in_lab import VARIABLE
from harness.host.requirements import Capability
from harness.integrations.nested_kvm.host_view import view
from harness.integrations.nested_kvm.results import copy_results
from harness.kernels.rootfs.filesystems import File, Link
from harness.metrics.history.store import History
from harness.vm.registry import driver_names

TOP = Path(__file__).parents[3]


@pytest.fixture
def x86_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The words of a lab that is refused."""
    assert main(["lab", *words]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.usefixtures("x86_64")
def test_more_memory_than_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    words = said(capsys, "--memory", str(1 << 30), "--", "true")
    assert "has no room: this host has" in words
    assert "--memory" in words.splitlines()[1] or "End what else" in words.splitlines()[1]


def test_an_arch_that_has_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There is no lab of riscv64" in said(capsys, "--arch", "riscv64", "--", "true")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "There is no lab of x86_64 on a host of aarch64" in said(capsys, "--arch", "x86_64", "--", "true")


def test_cells_of_two_arches_or_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--cell", "linux:x86_64-qemu-rofs", "--cell", "linux:aarch64-qemu-rofs")
    assert "the cells are of aarch64 and x86_64" in said(capsys, "--", "pytest", *both)
    words = said(capsys, "--arch", "aarch64", "--", "test", "linux:x86_64-qemu-rofs", "x")
    assert "none for a lab of aarch64" in words


@pytest.mark.parametrize(
    ("wanted", "words", "arch"),
    [
        ("", ["test", "linux:aarch64-qemu-rofs", "x"], "aarch64"),
        ("", ["osv-harness", "boot", "linux:x86_64-qemu-rofs"], "x86_64"),
        ("", ["pytest", "tests/unit", "--cell", "linux:aarch64-qemu-rofs"], "aarch64"),
        ("", ["pytest", "tests/unit", "--set", "quick"], platform.machine()),
        ("aarch64", ["test", "linux:qemu-rofs", "x"], "aarch64"),
        ("aarch64", ["pytest", "--set", "quick"], "aarch64"),
        ("aarch64", ["true"], "aarch64"),
        ("", ["matrix"], platform.machine()),
    ],
)
def test_its_arch_is_that_of_the_cells(wanted: str, words: list[str], arch: str) -> None:
    asked = parse_lab_command(words, None, wanted or None)
    assert asked.arch(wanted) == arch
    assert {cell.arch for cell in asked.cells} <= {arch}


@pytest.mark.usefixtures("x86_64")
def test_a_lab_in_a_lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "x86_64")
    assert "there is none in a lab" in said(capsys, "--", "true")


@pytest.mark.usefixtures("x86_64")
def test_no_command_and_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a shell wants a terminal" in said(capsys)


def _run(cwd: Path, **others: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", "from harness.cli import main; raise SystemExit(main())", "lab", "--", "true"]
    kept = {name: value for name, value in os.environ.items() if name not in ("OSV_ROOT", VARIABLE)}
    return subprocess.run(
        words, cwd=cwd, env={**kept, "PYTHONPATH": str(TOP), **others}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.skipif(not Host().capability("lab-x86_64").present, reason="no lab is possible here")
def test_no_qemu_and_no_network_for_packages(tmp_path: Path) -> None:
    """Its QEMU and its kernel are nowhere, and what should bring them does not answer."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("mmdebstrap", "apt-get", "sh", "cat", "rm", "sleep", "dpkg", "apt-config", "perl", "setpriv"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    done = _run(
        tmp_path, PATH=str(programs), OSV_HARNESS_CACHE=str(tmp_path / "cache"),
        OSV_HARNESS_DEBIAN_MIRROR="http://127.0.0.1:9",
    )  # fmt: skip
    assert done.returncode == 2
    assert "qemu-system-x86 (amd64) could not be fetched" in done.stderr
    assert "OSV_HARNESS_DEBIAN_MIRROR" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Host().capability("lab-x86_64").present, reason="no lab is possible here")
def test_a_full_disk(tmp_path: Path, tiny_disk: Path) -> None:
    done = _run(tmp_path, TMPDIR=str(tiny_disk))
    assert done.returncode == 2
    assert f"There is no space left in {tiny_disk}" in done.stderr
    assert "TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tiny_disk.iterdir())


def test_it_is_shown_what_is_named_and_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, kernels, code = tmp_path / "home", tmp_path / "kernels", tmp_path / "code"
    for folder in (home, kernels, code):
        folder.mkdir()
    (kernels / "loader.elf").write_text("x")
    (home / "loader.elf").write_text("x")
    monkeypatch.setenv("HOME", str(home))
    seen = view(["test", "--kernel-file", "kernels/loader.elf"], tmp_path, tmp_path / "cache", None, code)
    assert kernels in seen.folders
    wide = {Path("/"), Path("/root"), Path("/home"), Path("/etc"), Path("/tmp"), home, tmp_path, TOP, TOP / ".git"}
    assert not wide.intersection(seen.folders)
    assert not any(name.startswith(("/etc/shadow", "/etc/ssh", "/etc/ssl/private")) for name in seen.copied)
    with pytest.raises(HarnessError, match="a folder of its own"):
        view(["test", "--kernel-file", str(home / "loader.elf")], tmp_path, tmp_path / "cache", None, code)


def test_a_system_of_another_arch_is_shown_in_place_of_this_hosts(tmp_path: Path) -> None:
    system, code = tmp_path / "system", tmp_path / "code"
    for folder in ("usr/bin", "lib", "etc"):
        (system / folder).mkdir(parents=True)
    code.mkdir()
    (system / "bin").symlink_to("usr/bin")
    (system / "etc/os-release").write_text("of another arch")
    seen = view(["/usr/bin/env", "true"], tmp_path, tmp_path / "cache", None, code, system)
    places = {place: folder for place, folder in seen.folders.items() if place != folder}
    assert places == {Path("/usr"): system / "usr", Path("/lib"): system / "lib"}
    own = {Path("/usr"), Path("/usr/bin"), Path("/lib"), Path("/etc"), Path(sys.prefix), Path(sys.base_prefix)}
    assert not own.intersection(seen.folders.values())
    assert seen.copied["/etc/os-release"] == File(system / "etc/os-release", 0o644)
    assert seen.copied["/bin"] == Link("usr/bin")


def test_only_plain_files_are_brought_and_links_are_not_followed(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "folder"
    (out / "runs").mkdir(parents=True)
    folder.mkdir()
    (out / "runs/verdict.json").write_text("{}")
    (out / "outside").symlink_to(tmp_path)
    (out / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(out / "pipe")
    assert copy_results(out, folder) == [folder / "runs/verdict.json"]
    (folder / "junit.xml").symlink_to(tmp_path / "elsewhere")
    (out / "junit.xml").write_text("<x/>")
    with pytest.raises(HarnessError, match="is no plain file"):
        copy_results(out, folder)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_where_evidence_is_brought_to(tmp_path: Path, tiny_disk: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "console.raw").write_bytes(bytes(2 << 20))
    with pytest.raises(HarnessError, match=r"console\.raw: No space left on device"):
        copy_results(out, tiny_disk)
    assert not list(tiny_disk.iterdir())


def test_histories_are_merged(tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "folder"
    for place, row in ((out, judged(id="1" * 32)), (folder, judged(id="2" * 32))):
        place.mkdir()
        with History(place / "h.sqlite") as history:
            history.add([row])
    copy_results(out, folder)
    with History(folder / "h.sqlite") as history:
        assert {row.id for row in history.judged()} == {"1" * 32, "2" * 32}


class Without(Host):
    """A host that has everything but what is named."""

    def __init__(self, *lacking: str) -> None:
        super().__init__()
        self._lacking = lacking

    def capability(self, name: str) -> Capability:
        return Capability(name, name, "", "tried", present=name not in self._lacking)


@pytest.mark.parametrize(
    ("arch", "lacking", "standing"),
    [
        ("x86_64", (), Support.RUNS),
        ("x86_64", ("kvm-x86_64",), Support.IN_LAB),
        ("x86_64", ("kvm-x86_64", "lab-x86_64"), Support.CANNOT),
        ("x86_64", ("kvm-x86_64", "firecracker"), Support.CANNOT),
        ("aarch64", ("kvm-aarch64",), Support.CANNOT),  # Debian, which that lab is of, has no Firecracker
    ],
)
def test_a_cell_that_lacks_only_kvm_runs_in_the_lab(
    arch: str, lacking: tuple[str, ...], standing: Support
) -> None:
    matrix = Matrix.load()
    cell = matrix.parse(f"osv:{arch}-firecracker-rofs", "osv")
    found = AvailabilityCheck(matrix, Without(*lacking), driver_names(), TOP).of(cell)
    assert found.support is standing
    assert ("osv-harness lab" in found.reason) == (standing is Support.IN_LAB)
