"""What a person or a host gets wrong is said in words, with what to do, and never as a traceback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = f"{sys.executable} -m harness.cli"


def run(line: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), "HARNESS": HARNESS} | settings
    asked = ["sh", "-c", line]
    return subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which something listens already."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("$HARNESS ci github --output /proc/none/x", "/proc/none"),
        ("$HARNESS ci github --output file", "Directory 'file' is a file"),
        ("echo {} > p.json; $HARNESS ci plan p.json", "is no list of cells"),
        ("$HARNESS ci plan none.json", "none.json is no list of cells: No such file or directory."),
        ("$HARNESS ci plan '{}'", "{} is no list of cells: No such file or directory."),
        ("$HARNESS lab --cpus 0 -- true", "Invalid value for '--cpus'"),
        ("$HARNESS lab --memory 0 -- true", "Invalid value for '--memory'"),
        ("$HARNESS matrix > /dev/full", "No space left on device"),
        ("$HARNESS ci shell > /dev/full", "No space left on device"),
        ("$HARNESS app new units --package hello --project /proc", "/proc/apps"),
        ("$HARNESS report --output /proc/none/x.html", "can't be written"),
        ("$HARNESS farm scheduler --port 99999", "no port 99999"),
        ("$HARNESS farm scheduler --port -1", "no port -1"),
        ("$HARNESS farm scheduler --port $TAKEN", "Address already in use"),
        ("$HARNESS farm scheduler --listen 192.0.2.1", "an address of this host"),
        ("$HARNESS farm scheduler --listen no.such.host.invalid", "an address of this host"),
        ("$HARNESS farm run linux:qemu-rofs --measure boot-csot --farm tcp://127.0.0.1:9", "boot-cost"),
        ("$HARNESS perf linux:qemu-rofs --list > /dev/full", "No space left on device"),
        ("$HARNESS tests linux:qemu-rofs --json > /dev/full", "No space left on device"),
        ("$HARNESS history path > /dev/full", "No space left on device"),
        ("$HARNESS history runs > /dev/full", "No space left on device"),
        ("$HARNESS report --format text > /dev/full", "No space left on device"),
        ("$HARNESS doctor --format json > /dev/full", "No space left on device"),
        ("$HARNESS --version > /dev/full", "No space left on device"),
        ("$HARNESS test --help > /dev/full", "No space left on device"),
        ("$HARNESS farm worker tcp://127.0.0.1:$TAKEN --listen 192.0.2.1", "an address of this host"),
    ],
)
def test_it_is_said_in_words(line: str, said: str, tmp_path: Path, taken: int) -> None:
    (tmp_path / "file").touch()
    done = run(line, tmp_path, TAKEN=str(taken))
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_port_that_only_root_may_have(tmp_path: Path) -> None:
    """In a network of its own, where the ports below 1024 are root's, as on a host that nobody has set up."""
    drop = "setpriv --bounding-set -net_bind_service --inh-caps -net_bind_service"
    line = f"unshare -n sh -c 'ip link set lo up && exec {drop} $HARNESS farm scheduler --port 80'"
    if run("unshare -n ip link set lo up", tmp_path).returncode:
        pytest.skip("this user may make no network")
    done = run(line, tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Nothing can listen at 127.0.0.1:80: Permission denied." in done.stderr
    assert "from 1024 on" in done.stderr and "Traceback" not in done.stderr
