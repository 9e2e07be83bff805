"""The QEMU that OSv's build scripts start: a stand-in, which undoes KVM, the gdb port and early forwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from osv_standin import ROFS

from harness.kernels.osv import qemu_wrapper, toolchain
from harness.kernels.osv.build_tree import Tree


def test_the_qemu_stand_in_undoes_kvm_the_gdb_port_and_early_forwards() -> None:
    backend = "user,id=un0,net=192.168.122.0/24,hostfwd=tcp:127.0.0.1:5-:10000"
    words = ["-m", "512", "-gdb", "tcp::1234", "-netdev", backend, "-enable-kvm", "-cpu", "host,+x2apic"]
    kept, forwards = qemu_wrapper.translate("tcg", words)
    assert kept == ["-m", "512", "-netdev", "user,id=un0,net=192.168.122.0/24", "-accel", "tcg"]
    assert forwards == [("un0", "tcp:127.0.0.1:5-:10000")]
    assert qemu_wrapper.translate("kvm", ["-cpu", "cortex-a57"])[0][:2] == ["-cpu", "cortex-a57"]
    assert qemu_wrapper.translate("kvm", ["-cpu", "host"])[0] == ["-accel", "kvm", "-cpu", "host"]


QEMU = """#!{python}
import socket, sys
words = " ".join(sys.argv)
told = socket.socket(fileno=int(words.partition(",fd=")[2].partition(" ")[0]))
print("Waiting for connection from host...", flush=True)
told.sendall(b"QEMU monitor\\n(qemu) ")
print("told", told.recv(100), flush=True)
told.sendall(b"(qemu) ")
sys.exit(3)
"""


def test_the_qemu_stand_in_forwards_once_the_guest_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / f"qemu-system-{ROFS.arch}"
    qemu.write_text(QEMU.format(python=sys.executable))
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tree = Tree(tmp_path)
    tree.wrap(toolchain.wrappers(ROFS, "tcg"))
    command = [str(tree.bin / "qemu"), "-netdev", "user,id=un0,hostfwd=tcp:127.0.0.1:5-:10000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[1] == r"told b'hostfwd_add un0 tcp:127.0.0.1:5-:10000\n'"
    assert done.returncode == 3
