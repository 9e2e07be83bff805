"""OSV_ROOT mistyped is found before anything is installed, built or fetched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(words: list[str], folder: Path, osv_root: str) -> subprocess.CompletedProcess[str]:
    """The command with a mistyped OSV_ROOT, and with nothing that it could fetch or build with."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    environment = {"HOME": str(folder), "PATH": path, "PYTHONPATH": str(ROOT), "OSV_ROOT": osv_root}
    environment["OSV_HARNESS_CACHE"] = str(folder / "cache")
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


HARNESS = [sys.executable, "-m", "harness.cli"]


@pytest.mark.parametrize("typed", ["/no/osv", "~/osv", "osv-of-nobody"])
@pytest.mark.parametrize(
    "words",
    [
        [*HARNESS, "matrix"], [*HARNESS, "doctor", "--install"], [*HARNESS, "test", "qemu-rofs", "tst-hello.so"],
        [*HARNESS, "lab", "--", "test", "qemu-rofs", "tst-hello.so"],
        [sys.executable, "-m", "pytest", "tests/unit", "--cell", "qemu-rofs", "-p", "no:cacheprovider"],
    ],
    ids=lambda words: words[2] + words[3] if "harness.cli" in words else words[2],
)  # fmt: skip
def test_a_mistyped_checkout_is_said_at_once(words: list[str], typed: str, tmp_path: Path) -> None:
    done = run(words, tmp_path, typed)
    said = done.stdout + done.stderr
    assert done.returncode in (2, 4), said
    assert "There is no OSv checkout at" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("*")), "something was fetched or built"


def test_a_folder_that_is_no_checkout_is_said_by_tox(tmp_path: Path) -> None:
    tox = shutil.which("tox")
    if tox is None:
        pytest.skip("tox is not in PATH (./ready puts it there)")
    for typed, said in (("/no/osv", "no OSv checkout at /no/osv"), (str(tmp_path), "it has no scripts/build")):
        done = run([tox, "run", "--workdir", str(tmp_path / "tox"), "-e", "qemu-rofs"], tmp_path, typed)
        assert done.returncode and said in done.stdout + done.stderr
        assert not (tmp_path / "tox/self").exists()


@pytest.mark.parametrize("typed", ["/no/osv", "~/osv", "osv-of-nobody"])
def test_ready_installs_nothing_for_a_mistyped_checkout(typed: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "ready", tmp_path)
    done = run([str(tmp_path / "ready"), "tox", "-e", "qemu-rofs"], tmp_path, typed)
    assert done.returncode == 2 and "There is no OSv checkout at /" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]
