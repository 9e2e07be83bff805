"""What several tests of analyses share."""

import platform
import shutil
import subprocess

import pytest
from racing_program import RACE, SOURCE

from harness.core.machine import Image
from harness.kernels.rootfs.contents import Contents
from harness.runner.session import Session


@pytest.fixture(scope="session")
def racing(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """OSv with the program that races."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    program = tmp_path_factory.mktemp("race") / "race.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-g", "-o", str(program), str(SOURCE)], check=True)
    made = {RACE.command: program}
    return session.image_with(session.cell("osv:qemu-ramfs"), Contents(("libc6",), (RACE.command,), made=made))
