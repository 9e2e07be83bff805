"""Where a number was measured: read from this machine, and which numbers may be compared."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from history_records import WHERE

from harness.metrics.environment import environment
from harness.metrics.firmware import firmware
from harness.metrics.records import Metric


def test_numbers_are_compared_where_their_fingerprints_are_equal() -> None:
    exact, noisy = Metric("boot.instructions", "instructions", exact=True), Metric("boot.seconds", "s")

    def same(metric: Metric, **others: Any) -> bool:
        return WHERE.fingerprint(metric) == replace(WHERE, **others).fingerprint(metric)

    assert same(noisy, load=9.0) and same(exact, load=9.0)
    for other in ({"host": "x"}, {"cpu": "x"}, {"cpus": 5}, {"governor": "x"}, {"host_kernel": "x"}):
        assert not same(noisy, **other)
        assert same(exact, **other)
    for other in ({"accelerator": "tcg"}, {"emulator": "QEMU 9.0.0"}, {"firmware": "SeaBIOS 1.17.0"}):
        assert not same(noisy, **other) and not same(exact, **other)


class FakeHost:
    """A host with QEMU 8.1.2."""

    def cpus(self) -> int:
        return 3

    def accelerator(self, arch: str) -> str:
        return {"x86_64": "kvm", "aarch64": "tcg"}[arch]

    def qemu(self, arch: str) -> Any:
        return type("Qemu", (), {"version": (8, 1, 2), "path": Path("/no/qemu")})


@pytest.mark.parametrize(
    ("cpuinfo", "cpu"),
    [
        ("processor\t: 0\nmodel name\t: A CPU  @ 2.0 GHz\nflags\t\t: a b\n\nprocessor\t: 1\n", "A CPU  @ 2.0 GHz"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "0x41 0xd0c"),
        ("", os.uname().machine),
    ],
)
def test_the_environment_is_read_from_this_machine(
    cpuinfo: str, cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (("CPUINFO", cpuinfo), ("GOVERNOR", "powersave\n")):
        (tmp_path / name).write_text(words)
        monkeypatch.setattr(f"harness.metrics.environment.{name}", tmp_path / name)
    host: Any = FakeHost()
    found = environment(host, "x86_64")
    assert (found.cpu, found.cpus, found.governor) == (cpu, 3, "powersave")
    assert (found.accelerator, found.emulator) == ("kvm", "QEMU 8.1.2")
    assert (found.host, found.host_kernel) == (os.uname().nodename, os.uname().release)
    (tmp_path / "GOVERNOR").unlink()
    assert environment(host, "aarch64").governor == "none"
    assert environment(host, "aarch64").accelerator == "tcg"


def test_the_firmware_is_told_by_its_version_and_content(tmp_path: Path) -> None:
    """Of any two that differ, in whichever of their files."""

    def qemu(name: str, **files: bytes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in files.items():
            (folder / f"{file.replace('_', '-', 1)}.bin").write_bytes(content)
        script = f"[ \"$*\" = '-L help' ] && echo {tmp_path}/none && echo {folder}"
        (folder / "qemu").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "qemu").chmod(0o755)
        return folder / "qemu"

    bios = b"SeaBIOS (version %s)\0other 1.2\0" + b"1.16.2-debian-1.16.2-1\0"
    one = firmware(qemu("one", bios_256k=bios), "x86_64")
    assert one.startswith("SeaBIOS 1.16.2-debian-1.16.2-1, ")
    assert firmware(qemu("same", bios_256k=bios), "x86_64") == one
    assert firmware(qemu("other", bios_256k=bios + b"x"), "x86_64") != one
    assert firmware(qemu("with", bios_256k=bios, bios_microvm=b"m"), "x86_64") != one
    assert firmware(qemu("arm", bios_256k=bios), "aarch64") == ""
    assert firmware(qemu("none"), "x86_64") == firmware(tmp_path / "nowhere", "x86_64") == ""
