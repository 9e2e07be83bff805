"""What several of the harness's own tests use."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.errors import HarnessError, HostError
from harness.core.machine import Disk, Image
from harness.host.cache import Cache
from harness.kernels.osv.toolchain import taken_from_host
from harness.kernels.source_lines import PROGRAMS as UNSTRIPPED
from harness.runner.session import Session
from harness.vm.registry import hypervisor

HERE = Path(__file__).parent
FOLDERS = [str(path) for path in HERE.iterdir() if path.is_dir() and path.name != "data"]
sys.path[:0] = FOLDERS
# Tests that are started as programs find what tests share as well.
os.environ["PYTHONPATH"] = os.pathsep.join([*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])])

from recording import Recorder  # noqa: E402

# Helpers that assert: what failed is told as it is of a test.
pytest.register_assert_rewrite("farm_processes", "network_guests", "rest_machines", "tap_run")

PROGRAMS = HERE / "data/guest_programs"
SOURCES = ("fault.c", "nested.cc", "unloaded.c")
FLAGS = ("-shared", "-fPIC", "-O1", "-g", "-fno-builtin", "-Wall", "-Werror")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for guests, locks and processes for nearly half of their time."""
    return (len(os.sched_getaffinity(0)) * 3 + 1) // 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="record the consoles of OSv's guests anew")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Who starts tests in the background has them ignore it, and so the processes that are to end by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_history_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests run keeps its verdicts, and not in the history of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSV_HARNESS_HISTORY", str(tmp_path_factory.mktemp("history") / "history.sqlite"))
        yield


@pytest.fixture(scope="session")
def osv_with_faults(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recorder]:
    """A runner of an arch's OSv that has our fault program in /tmp/faults, from a second disk."""
    made: dict[str, Recorder] = {}

    def runner(arch: str) -> Recorder:
        if arch not in made:
            made[arch] = _osv_with_faults(session, arch, tmp_path_factory.mktemp(f"faults-{arch}"))
        return made[arch]

    return runner


def _osv_with_faults(session: Session, arch: str, folder: Path) -> Recorder:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    cell = session.cell(f"osv:{arch}-qemu-rofs-all")
    try:
        image = session.image(cell)
        kept = _fault_programs(cell, session.cache)
    except HarnessError as error:
        pytest.skip(f"OSv for {arch} can't be built here: {error.message}")
    disk, manifest = folder / "disk", folder / "manifest"
    for path in kept.glob("*.so"):
        shutil.copy2(path, folder)
    programs = sorted(folder.glob("*.so"))
    manifest.write_text("[manifest]\n" + "".join(f"/{path.name}: {path}\n" for path in programs))
    script = session.osv_root / "scripts/gen-rofs-img.py"
    command = [sys.executable, "-B", str(script), "-m", str(manifest), "-o", str(disk)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with_faults = replace(
        image,
        manifest=_manifest_with(image, programs, folder),
        disks=(*image.disks, Disk(disk)),
        cmdline=f"{image.cmdline} --mount-fs=rofs,/dev/vblk1,/tmp/faults",
    )
    return Recorder(with_faults, hypervisor("qemu"), session.accelerator(cell), session.cache)


def _fault_programs(cell: Cell, cache: Cache) -> Path:
    """The folder of our programs for the cell's arch, built once by one compiler, and never in a harness's lab."""
    parts = {
        "sources": {name: (PROGRAMS / name).read_text() for name in SOURCES},
        "folder": str(PROGRAMS),
        "flags": FLAGS,
        "tools": taken_from_host(cell)["tools"],
    }
    return cache.get("fault-programs", parts, partial(_build, cell.arch))


def _build(arch: str, folder: Path) -> None:
    """Raises `HostError` where there is no compiler for the arch."""
    prefix = "" if arch == platform.machine() else f"{arch}-linux-gnu-"
    compilers = {".c": f"{prefix}gcc", ".cc": f"{prefix}g++"}
    if missing := [name for name in compilers.values() if shutil.which(name) is None]:
        raise HostError(
            f"The programs of the tests can't be built: {missing[0]} is missing.", "Run them outside first."
        )
    # By their bare names, for that is what their assertions say.
    for source in map(Path, SOURCES):
        target = folder / source.with_suffix(".so")
        subprocess.run(
            [compilers[source.suffix], *FLAGS, "-o", str(target), str(source)], cwd=PROGRAMS, check=True
        )
    _write_what_does_not_start(folder, [compilers[".c"], *FLAGS])


def _manifest_with(image: Image, programs: Sequence[Path], folder: Path) -> Path:
    """The image's list of files with our programs added, beside what is kept of the image's own."""
    assert image.manifest
    lines = "".join(f"/tmp/faults/{path.name}: {path}\n" for path in programs)
    (made := folder / "usr.manifest").write_text(f"{image.manifest.read_text()}\n{lines}")
    if (kept := image.manifest.parent / UNSTRIPPED).is_dir():
        (folder / UNSTRIPPED).symlink_to(kept)
    return made


def _write_what_does_not_start(folder: Path, compiler: list[str]) -> None:
    """Files that no kernel can start as a program, each for another reason."""
    good = (folder / "fault.so").read_bytes()
    machine = slice(18, 20)  # Source: ELF, e_machine
    other = good[: machine.start] + b"\x08\0" + good[machine.stop :]
    cut = good[:32]
    for name, content in {"script": b"#!/bin/sh\nexit 0\n", "other-arch": other, "cut": cut, "empty": b""}.items():
        (folder / f"{name}.so").write_bytes(content)
    source = folder / "library.c"
    source.write_text("int answer(void) { return 42; }\n")
    subprocess.run([*compiler, "-o", str(folder / "library.so"), str(source)], check=True)
    source.write_text("int nowhere(void); int main(void) { return nowhere(); }\n")
    subprocess.run([*compiler, "-Wl,-z,now", "-o", str(folder / "missing-symbol.so"), str(source)], check=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a filesystem of 1 MiB of its own."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tiny", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
