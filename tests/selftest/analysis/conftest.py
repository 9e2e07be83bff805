"""What several tests of analyses share."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from racing_program import RACE, SOURCE

from harness.core.machine import Image
from harness.kernels.rootfs.contents import Contents
from harness.runner.session import Session


@pytest.fixture(scope="session")
def racing(session: Session) -> Image:
    """OSv with the program that races, which stays where the image, once built, says that it is."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    flags = ["-shared", "-fPIC", "-O1", "-g"]

    def build(folder: Path) -> None:
        subprocess.run(["gcc", *flags, "-o", str(folder / "race.so"), str(SOURCE)], check=True)

    parts = {"source": SOURCE.read_text(), "flags": flags}
    made = {RACE.command: session.cache.get("racing-program", parts, build) / "race.so"}
    return session.image_with(session.cell("osv:qemu-ramfs"), Contents(("libc6",), (RACE.command,), made=made))
