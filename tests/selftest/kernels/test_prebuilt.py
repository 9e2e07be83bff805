"""Kernels that are already built: files in place of a checkout, what is found beside them, and what is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.core.errors import CellError, HarnessError
from harness.core.machine import Image
from harness.integrations.ci.image_bundle import write_bundle
from harness.kernels.prebuilt import kernel as prebuilt
from harness.kernels.prebuilt.boot_file import boot_file
from harness.kernels.prebuilt.kernel import Files, Prebuilt, files_of
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

ROOT = Path(__file__).parents[3]
ROFS, RAMFS = "linux:qemu-rofs", "linux:qemu-ramfs"


@pytest.fixture
def packed(session: Session, tmp_path: Path) -> Callable[[str], Path]:
    """Packs a cell's image into a folder, as a CI that built it would."""

    def make(name: str) -> Path:
        try:
            image = session.image(session.cell(name))
        except HarnessError as error:
            pytest.skip(f"{name} can't be built here: {error.message}")
        folder = tmp_path / image.cell.slug
        write_bundle(image, session.kernel(image.cell.kernel).origin(image), folder)
        return folder

    return make


@pytest.fixture
def osv(session: Session, packed: Callable[[str], Path]) -> Path:
    """A packed OSv with its tests in rofs."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    return packed("osv:x86_64-qemu-rofs")


def prebuilt_lab(folder: Path, session: Session, **named: object) -> Session:
    files = Files(folder / "kernel", disk if (disk := folder / "disk").exists() else None)
    return Session(cache=session.cache, files=replace(files, **named))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [ROFS, RAMFS])
def test_a_packed_linux_runs_its_tests(session: Session, packed: Callable[[str], Path], name: str) -> None:
    folder = packed(name)
    other = prebuilt_lab(folder, session)
    cell = other.cell(name)
    built = session.image(cell)
    image = other.image(cell)
    assert image.kernel == folder / "kernel"
    assert (image.cmdline, image.initrd) == (built.cmdline, folder / "initrd")
    assert [disk.path for disk in image.disks] == ([folder / "disk"] if name == ROFS else [])
    assert other.kernel("linux").origin(image) == session.kernel("linux").origin(built)
    assert {program.name for program in other.programs(cell)} == {
        program.name for program in session.programs(cell)
    }
    assert other.run_on(image, Program("true", "true", 60)).verdict.outcome is Outcome.PASSED
    assert other.run_on(image, Program("false", "false", 60)).verdict.outcome is Outcome.FAILED


def test_pytest_and_the_command_take_files(packed: Callable[[str], Path], tmp_path: Path) -> None:
    folder = packed(ROFS)
    named = ["--kernel-file", str(folder / "kernel"), "--image-file", str(folder / "disk")]
    words = ["-m", "pytest", "tests/unit", "--cell", ROFS, "-k", "stress-ng-access]", "--runs", str(tmp_path)]
    environment = ["env", "-u", "OSV_ROOT", sys.executable]
    done = subprocess.run([*environment, *words, *named], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "already built: stripped ELF file" in done.stdout
    assert "1 passed" in done.stdout
    assert main(["test", ROFS, "stress-ng-access", "--runs", str(tmp_path), *named]) == 0


def test_osv_without_a_checkout_is_watched_by_its_symbols(
    session: Session, osv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSV_ROOT")
    other = prebuilt_lab(osv, session)
    cell = other.cell("qemu-rofs")
    assert other.osv_root is None
    assert cell.kernel == "osv"
    assert other.image(cell).symbols == osv / "loader.elf"
    good = other.run(cell, other.program(cell, "tst-mmap.so"))
    bad = other.run(cell, other.program(cell, "tst-utimes.so"))
    assert (good.verdict.outcome, bad.verdict.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert "the kernel" in good.verdict.observation.status_from
    assert other.kernel("osv").origin(other.image(cell)) == session.kernel("osv").origin(
        session.image(session.cell("qemu-rofs"))
    )


def test_osv_without_symbols_says_what_verdicts_rest_on(session: Session, osv: Path) -> None:
    (osv / "loader.elf").unlink()
    other = prebuilt_lab(osv, session)
    cell = other.cell("osv:qemu-rofs")
    assert "no symbols" in other.kernel("osv").describe()
    assert "console" in other.kernel("osv").describe()
    bad = other.run(cell, other.program(cell, "tst-utimes.so"))
    assert bad.verdict.outcome is Outcome.FAILED
    assert bad.verdict.observation.status_from == "the console"


def test_symbols_of_another_build_are_not_used(session: Session, osv: Path) -> None:
    other = bytearray((osv / "loader.elf").read_bytes())
    code = bytes(other).find((osv / "kernel").read_bytes()[0x100000:0x100100])
    other[code] ^= 0xFF
    (osv / "loader.elf").write_bytes(other)
    kernel = prebuilt_lab(osv, session)
    assert kernel.image(kernel.cell("osv:qemu-rofs")).symbols is None
    assert "of another build" in kernel.kernel("osv").describe()


def test_without_a_manifest_the_reason_is_told(session: Session, osv: Path, tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    shutil.move(osv / "usr.manifest", listed)
    other = prebuilt_lab(osv, session)
    with pytest.raises(HarnessError, match=r"no usr\.manifest beside it") as caught:
        other.programs(other.cell("osv:qemu-rofs"))
    assert "--manifest" in caught.value.hint
    named = prebuilt_lab(osv, session, manifest=listed)
    assert "tst-mmap.so" in {program.name for program in named.programs(named.cell("osv:qemu-rofs"))}


# ---- files that are made here: no kernel is needed to refuse one ----


def elf(path: Path, machine: int, size: int = 64 + 56 + 64) -> Path:
    """An ELF file with one loadable segment. Source: System V ABI, ELF header and program header."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += b"".join(
        value.to_bytes(width, "little")
        for value, width in (
            (2, 2), (machine, 2), (1, 4), (0x1000, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2), (64, 2),
            (0, 2), (0, 2),
        )
    )  # fmt: skip
    segment = b"".join(
        value.to_bytes(width, "little")
        for value, width in ((1, 4), (5, 4), (120, 8), (0x1000, 8), (0x1000, 8), (64, 8), (64, 8), (1, 8))
    )
    path.write_bytes((header + segment).ljust(size, b"\x90"))
    return path


X86_64, AARCH64, RISCV = 62, 183, 243


def raw(path: Path, at: int, magic: bytes) -> Path:
    path.write_bytes(bytes(at) + magic + bytes(2048))
    return path


def test_kinds_and_arches_are_told_apart(tmp_path: Path) -> None:
    assert boot_file(elf(tmp_path / "a", X86_64)).arch == "x86_64"
    assert boot_file(elf(tmp_path / "b", AARCH64)).arch == "aarch64"
    assert boot_file(raw(tmp_path / "c", 0x38, b"ARM\x64")).kind == "raw kernel"
    assert boot_file(raw(tmp_path / "d", 0x202, b"HdrS")).kind == "bzImage"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "There is no file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.write_bytes(b"hello" * 100), "is no kernel"),
        (lambda path: raw(path, 0x1FE, b"\x55\xaa"), "a PC's firmware boots"),
        (lambda path: path.write_bytes(b"\x7fELF" + bytes(100)), "damaged ELF file"),
        (lambda path: elf(path, X86_64, size=130), "cut short"),
        (lambda path: elf(path, RISCV), "EM_RISCV"),
    ],
)
def test_what_is_no_kernel_is_refused(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    make(path)
    with pytest.raises(HarnessError, match=says) as caught:
        boot_file(path)
    assert caught.value.hint


def image_of(folder: Path, cell: str, session: Session, **named: object) -> Image:
    files = replace(Files(elf(folder / "kernel", X86_64)), **named)  # type: ignore[arg-type]
    return Prebuilt("osv", files).build(session.cell(cell), session.cache)


@pytest.mark.parametrize(
    ("cell", "disk", "cmdline", "says"),
    [
        ("osv:aarch64-qemu-rofs", True, None, "is for x86_64"),
        ("osv:x86_64-qemu-rofs", False, None, "none is named"),
        ("osv:x86_64-qemu-ramfs", True, None, "has no disk"),
        ("osv:x86_64-qemu-rofs", True, "--verbose --rootfs=zfs", "boots from zfs"),
    ],
)
def test_files_that_do_not_fit_the_cell_are_refused(
    cell: str, disk: bool, cmdline: str | None, says: str, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "usr.img").write_bytes(b"QFI\xfb")
    with pytest.raises(CellError, match=says):
        image_of(tmp_path, cell, session, disk=tmp_path / "usr.img" if disk else None, cmdline=cmdline)


def test_disk_command_line_and_digest_come_from_the_files(session: Session, tmp_path: Path) -> None:
    disk, cell = tmp_path / "usr.img", "osv:x86_64-qemu-rofs"
    disk.write_bytes(b"QFI\xfb rest")
    plain = image_of(tmp_path, cell, session, disk=disk)
    assert (plain.disks[0].format, plain.cmdline) == ("qcow2", "--rootfs=rofs")
    (tmp_path / "cmdline").write_text("--rootfs=rofs --nomount /hello --loud\n")
    found = image_of(tmp_path, cell, session, disk=disk)
    assert found.cmdline == "--rootfs=rofs --nomount"
    assert found.facts["own command"] == "/hello --loud"
    disk.write_bytes(b"no magic")
    other = image_of(tmp_path, cell, session, disk=disk)
    assert other.disks[0].format == "raw"
    assert len({plain.digest, found.digest, other.digest}) == 3


def test_an_origin_is_read_made_safe_or_refused(session: Session, tmp_path: Path) -> None:
    def origin() -> str:
        image = image_of(tmp_path, "osv:x86_64-qemu-ramfs", session)
        return Prebuilt("osv", Files(image.kernel)).origin(image).described

    assert origin().startswith("kernel ")
    (tmp_path / prebuilt.ORIGIN).write_text(
        json.dumps({"commit": "c0ffee", "described": "v1\x1b[31m", "committed": 5})
    )
    assert origin().startswith("v1")
    assert "\x1b" not in origin()
    (tmp_path / prebuilt.ORIGIN).write_text("[]")
    with pytest.raises(HarnessError, match="origin of a kernel"):
        origin()


def test_a_line_of_commits_is_read_or_refused(session: Session, tmp_path: Path) -> None:
    """It orders versions; what is in it are hashes, whoever packed the kernel."""

    def lineage(rows: object) -> tuple[tuple[str, str], ...]:
        told = {"commit": "c0ffee", "described": "v1", "lineage": rows}
        (tmp_path / prebuilt.ORIGIN).write_text(json.dumps(told))
        image = image_of(tmp_path, "osv:x86_64-qemu-ramfs", session)
        return Prebuilt("osv", Files(image.kernel)).origin(image).lineage

    commit, parents = "a" * 40, f"{'b' * 40} {'c' * 40}"
    assert lineage([[commit, parents], ["b" * 40, ""]]) == ((commit, parents), ("b" * 40, ""))
    for wrong in ([["\x1b[31m", ""]], [[commit, "../x"]], [[commit]], 5):
        with pytest.raises(HarnessError, match="origin of a kernel"):
            lineage(wrong)


def test_other_programs_and_stray_options_are_refused(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = elf(tmp_path / "kernel", X86_64)
    assert main(["perf", "osv:x86_64-qemu-ramfs", "--only", "size", "--forget", "--kernel-file", str(kernel)]) == 2
    assert "already built" in capsys.readouterr().err
    assert main(["test", "qemu-rofs", "x", "--image-file", str(kernel)]) == 2
    assert "--kernel-file" in capsys.readouterr().err
    assert files_of(None, None, None, None) is None
