"""A host of Fedora's, stood in for by a `dnf` and its own os-release: it is told what to install by dnf."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.command_line import parse
from harness.core import project
from harness.host import distribution
from harness.host.requirements import REQUIREMENTS

RELEASE = {"ID": "fedora", "VERSION_ID": "42", "NAME": "Fedora Linux"}


@pytest.fixture(params=["without apt", "with Debian's apt"])
def fedora(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = ("dnf",) if request.param == "without apt" else ("dnf", "apt-get")
    for name in programs:
        (program := tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OSV_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OSV_ROOT", raising=False)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: RELEASE)


@pytest.mark.usefixtures("fedora")
def test_it_is_told_what_to_install_by_dnf(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--install"]) == 2
    told = capsys.readouterr().err
    assert "nothing was installed" in told
    command = told.partition("As root, run: ")[2]
    assert command.startswith("dnf install ") and "apt-get" not in command
    assert {"mmdebstrap", "debian-keyring", "qemu-img", "glibc-devel"} <= set(command.split())


@pytest.mark.usefixtures("fedora")
def test_the_table_of_what_there_is_names_dnf(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    said = capsys.readouterr().out
    assert "dnf install squashfs-tools" in " ".join(said.split()) and "apt-get install" not in said


def test_a_debian_host_has_no_dnf_for_having_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dnf", "apt-get"):
        (program := tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    assert distribution.command(["qemu-utils"]) == "apt-get install qemu-utils"


def test_every_name_that_differs_is_of_a_package_that_is_wanted() -> None:
    wanted = {package for need in REQUIREMENTS.values() for package in need.packages}
    unknown = set(project.read(project.SHIPPED / distribution.FEDORA)) - wanted
    assert unknown <= {"apt-get", "qemu-efi-aarch64", "qemu-system-arm", "binutils-x86-64-linux-gnu",
                       "g++-x86-64-linux-gnu", "gcc-x86-64-linux-gnu"}  # fmt: skip


@pytest.mark.parametrize(
    ("manager", "cure"),
    [("dnf", "As root, run: dnf install python3 python3-pip"), (None, "by this system's package manager")],
)
def test_ready_without_venv_names_the_package_manager(manager: str | None, cure: str, tmp_path: Path) -> None:
    """`./ready` runs before there is any Python of ours: with a Python that lacks venv, and no apt."""
    root = Path(__file__).parents[2]
    (folder := tmp_path / "harness").mkdir()
    shutil.copy(root / "ready", folder)
    (programs := tmp_path / "bin").mkdir()
    for name in ("sh", "dirname", "id"):
        (programs / name).symlink_to(shutil.which(name) or name)
    if manager:
        (programs / manager).symlink_to(shutil.which("false") or "false")
    (python := programs / "python3").write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        [folder / "ready", "true"], env={"PATH": str(programs)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert cure in done.stderr and "apt-get install" not in done.stderr


def test_every_step_of_the_containerfile_is_one_that_there_is() -> None:
    lines = (Path(__file__).parents[2] / "Containerfile").read_text().splitlines()
    steps = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    assert {word for word, _, _ in steps} <= {"FROM", "RUN", "WORKDIR", "COPY", "CMD"}
    ours = [rest for word, _, rest in steps if word == "RUN" and "osv-harness" in rest]
    assert len(ours) == 2
    for rest in ours:
        words = rest.split()
        assert words[:2] == ["./ready", "osv-harness"]
        parse(words[2:])
