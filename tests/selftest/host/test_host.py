"""The host probes: tiny guests that answer or don't, proofs that are kept, programs that are missing or lie."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from executable import executable

from harness.core.arch import host_arch
from harness.core.errors import HostError
from harness.host import accelerator_probe as proofs
from harness.host.accelerator_probe import GUESTS, cached_probe
from harness.host.cache import Cache
from harness.host.host import Host

HALT = {"x86_64": bytes(65536 - 16) + bytes.fromhex("faf4ebfd").ljust(16, b"\0"),
        "aarch64": bytes.fromhex("7f2003d5 ffffff17")}  # fmt: skip
"""Guests that do nothing for ever: cli; hlt; jmp -1, and wfi; b -1."""

FAKE_QEMU = """#!/bin/sh
case "$*" in
-version) echo "QEMU emulator version {version} (fake)";;
"-machine help") printf 'Supported machines are:\\nq35  a board\\nmicrovm  another\\n';;
"-accel help") printf 'Accelerators supported in QEMU binary:\\ntcg\\nkvm\\n';;
*"-accel kvm"*) echo kvm >>{log}; {kvm};;
*) echo tcg >>{log}; exit 85;;
esac
"""


@pytest.fixture
def fake_qemu(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a QEMU first in PATH on an x86_64 host with a /dev/kvm; returns the log of the guests it started."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    kvm = tmp_path / "kvm"
    kvm.touch()
    monkeypatch.setattr(proofs, "KVM", kvm)

    def make(version: str = "9.1.0", kvm: str = "exit 85") -> Path:
        log = tmp_path / "started"
        log.touch()
        executable(folder / "qemu-system-x86_64", FAKE_QEMU.format(version=version, log=log, kvm=kvm))
        return log

    return make


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_tiny_guest_answers_in_emulation(arch: str) -> None:
    proof = proofs.run_probe(Host().qemu(arch).path, arch, "tcg")
    assert proof.answered, proof
    assert proof.seconds < proofs.LIMITS["tcg"]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_guest_that_never_answers_proves_nothing_and_leaves_no_qemu(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GUESTS, arch, HALT[arch])
    monkeypatch.setitem(proofs.LIMITS, "tcg", 1.0)
    before = _children()
    proof = proofs.run_probe(Host().qemu(arch).path, arch, "tcg")
    assert not proof.answered
    assert "never answered" in proof.detail
    assert _children() == before


def test_a_firmware_that_only_resets_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU then ends by itself with status 0, and not with the answer's."""
    triple_fault = bytes(65536 - 16) + bytes.fromhex("0f011e0000cc").ljust(16, b"\0")
    monkeypatch.setitem(GUESTS, "x86_64", triple_fault)
    proof = proofs.run_probe(Host().qemu("x86_64").path, "x86_64", "tcg")
    assert not proof.answered
    assert "exited with 0" in proof.detail


def test_a_killed_probe_takes_its_qemu_along(tmp_path: Path) -> None:
    script = (
        "from harness.host import accelerator_probe as p; from harness.host.host import Host\n"
        f"p.GUESTS['x86_64'] = bytes(65520) + {HALT['x86_64'][-16:]!r}; p.LIMITS['tcg'] = 60\n"
        "p.run_probe(Host().qemu('x86_64').path, 'x86_64', 'tcg')\n"
    )
    environment = {**os.environ, "OSV_HARNESS_CACHE": str(tmp_path)}
    probe = subprocess.Popen([sys.executable, "-c", script], env=environment)
    try:
        qemus = _wait_for(lambda: [pid for pid in _children(probe.pid) if _runs_guest(pid)])
    finally:
        probe.send_signal(signal.SIGKILL)
        probe.wait()
    assert len(qemus) == 1
    assert _wait_for(lambda: not _alive(qemus[0]))


def test_kvm_that_answers_is_used(fake_qemu: Callable[..., Path], cache: Cache) -> None:
    fake_qemu()
    host = Host(cache)
    assert host.accelerator("x86_64") == "kvm"
    assert host.capability("kvm-x86_64").present


@pytest.mark.parametrize(
    ("kvm", "found"),
    [
        ("echo 'failed to set MSR 0x10a' >&2; kill -ABRT $$", "SIGABRT: failed to set MSR 0x10a"),
        ("echo 'Could not access KVM' >&2; exit 1", "exited with 1: Could not access KVM"),
        ("exit 0", "exited with 0: without a word"),
        ("exec sleep 60", "never answered"),
    ],
)
def test_kvm_that_does_not_answer_is_not_used_and_says_why(
    fake_qemu: Callable[..., Path], cache: Cache, monkeypatch: pytest.MonkeyPatch, kvm: str, found: str
) -> None:
    monkeypatch.setitem(proofs.LIMITS, "kvm", 0.5)
    fake_qemu(kvm=kvm)
    host = Host(cache)
    assert host.accelerator("x86_64") == "tcg"
    assert found in host.capability("kvm-x86_64").found
    assert not host.capability("kvm-x86_64").present
    assert host.capability("tcg-x86_64").present, "a failure of KVM is not one of QEMU"


ASKS = """
import sys
from pathlib import Path
from harness.host.cache import Cache
from harness.host.host import Host
from harness.core.arch import host_arch
host = Host(Cache(Path(sys.argv[1])))
print(host.accelerator(host_arch()))
print(host.capability(f"kvm-{host_arch()}").found)
"""
NO_KVM = 'mount --bind /dev/null /dev/kvm && exec "$@"'


def test_a_real_device_that_opens_and_runs_no_guest_leads_to_tcg(folder: Path) -> None:
    """With the real QEMU: in a mount namespace /dev/kvm is another device, which opens and knows no request."""
    if not proofs.KVM.exists():
        pytest.skip("there is no /dev/kvm to put another device in place of")
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c", NO_KVM, "no-kvm"]
    if refused := subprocess.run([*namespace, "true"], capture_output=True, text=True).stderr:
        pytest.skip(f"no mounts can be made here: {refused.strip()}")
    asked = [*namespace, sys.executable, "-c", ASKS, str(folder)]
    accelerator, reason = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    assert accelerator == "tcg"
    assert "QEMU exited with" in reason
    assert "kvm" in reason.lower()


def test_this_hosts_own_kvm_is_used_only_if_a_guest_answered(cache: Cache) -> None:
    if not proofs.KVM.exists():
        pytest.skip("there is no /dev/kvm")
    host, arch = Host(cache), host_arch()
    answered = proofs.run_probe(host.qemu(arch).path, arch, "kvm")
    found = host.capability(f"kvm-{arch}")
    assert host.accelerator(arch) == ("kvm" if answered.answered else "tcg"), (answered, found)
    assert found.present is answered.answered
    assert found.found


def test_kvm_is_not_tried_for_another_arch_or_without_its_device(
    fake_qemu: Callable[..., Path], cache: Cache
) -> None:
    log = fake_qemu()
    proofs.KVM.unlink()
    host = Host(cache)
    assert host.accelerator("x86_64") == "tcg"
    assert host.accelerator("aarch64") == "tcg"
    assert host.capability("kvm-x86_64").found == "there is no /dev/kvm"
    assert host.capability("kvm-aarch64").found == "this host is x86_64"
    assert log.read_text() == ""


def test_a_proof_is_kept_for_one_boot_one_qemu_and_one_kvm(
    fake_qemu: Callable[..., Path], cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("first")
    monkeypatch.setattr(proofs, "BOOT_ID", boot)
    log = fake_qemu()

    def started() -> int:
        assert Host(cache).accelerator("x86_64") == "kvm"
        return len(log.read_text().splitlines())

    assert [started(), started()] == [1, 1]
    boot.write_text("second")
    assert [started(), started()] == [2, 2]
    proofs.KVM.chmod(0o600)
    assert [started(), started()] == [3, 3]
    fake_qemu(version="9.1.1000")
    assert [started(), started()] == [4, 4]
    assert Host(cache).probe("x86_64", "kvm", again=True).answered
    assert len(log.read_text().splitlines()) == 5


def test_a_damaged_proof_is_found_again(fake_qemu: Callable[..., Path], cache: Cache) -> None:
    fake_qemu()
    assert Host(cache).accelerator("x86_64") == "kvm"
    (kept,) = (cache.root / "host").glob("*.json")
    kept.write_text('{"accelerator": "kvm"')
    assert Host(cache).accelerator("x86_64") == "kvm"


def test_parallel_workers_probe_once(fake_qemu: Callable[..., Path], cache: Cache) -> None:
    log = fake_qemu(kvm="sleep 0.3; exit 85")
    binary = Host(cache).qemu("x86_64").path
    with ThreadPoolExecutor(6) as pool:
        proofs = list(pool.map(lambda _: cached_probe(binary, "x86_64", "kvm", Cache(cache.root)), range(6)))
    assert all(proof.answered for proof in proofs)
    assert log.read_text() == "kvm\n"


def test_qemu_tells_version_machines_and_accelerators(fake_qemu: Callable[..., Path], folder: Path) -> None:
    fake_qemu(version="8.2.2")
    qemu = Host().qemu("x86_64")
    assert qemu.path == folder / "qemu-system-x86_64"
    assert qemu.version == (8, 2, 2)
    assert qemu.machines == {"q35", "microvm"}
    assert qemu.accelerators == {"tcg", "kvm"}


def test_a_missing_qemu_says_which_package_brings_it(monkeypatch: pytest.MonkeyPatch, cache: Cache) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError) as caught:
        Host(cache).qemu("aarch64")
    assert caught.value.message == "qemu-system-aarch64 is missing."
    assert "qemu-system-arm" in caught.value.hint
    row = Host(cache).capability("tcg-aarch64")
    assert not row.present
    assert row.found == "qemu-system-aarch64 is missing."


def test_a_qemu_that_is_too_old_or_broken_says_so_in_its_own_words(
    fake_qemu: Callable[..., Path], folder: Path
) -> None:
    fake_qemu(version="6.2.0")
    with pytest.raises(HostError, match=r"is 6\.2\.0, and 7\.2 or newer is needed"):
        Host().qemu("x86_64")
    library = "error while loading shared libraries: libpixman-1.so.0"
    executable(folder / "qemu-system-x86_64", f"#!/bin/sh\necho '{library}' >&2; exit 127\n")
    with pytest.raises(HostError, match=library):
        Host().qemu("x86_64")
    executable(folder / "qemu-system-x86_64", "#!/bin/sh\necho hello\n")
    with pytest.raises(HostError, match="told no version but: 'hello"):
        Host().qemu("x86_64")


def _children(parent: int | None = None) -> list[int]:
    parent = parent or os.getpid()
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _runs_guest(pid: int) -> bool:
    try:
        return "qemu-system" in Path(f"/proc/{pid}/exe").readlink().name
    except OSError:  # another child, which has just ended
        return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(ask: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer
