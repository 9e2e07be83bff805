"""Where a guest of OSv died is told by its own console, where no debug stub tells it."""

import pytest
from recording import FOLDER

from harness.runner.osv.console_backtrace import place_on


@pytest.mark.parametrize(("name", "place"), [
    ("kernel-page-fault.x86_64", "in memset_repstosb"), ("kernel-page-fault.aarch64", "in memset"),
    ("oom.x86_64", "in memory::oom()"), ("oom.aarch64", "in memory::oom()"),
    ("missing-symbol.so.x86_64", "in elf::object::symbol(unsigned int, bool)"),
    ("segv.x86_64", ""), ("gpf.x86_64", ""), ("abort.x86_64", ""), ("assert.aarch64", ""), ("pass.x86_64", ""),
])  # fmt: skip
def test_a_recorded_guest(name: str, place: str) -> None:
    assert place_on((FOLDER / f"{name}.raw").read_bytes()) == place


def report(*frames: str, at: str = "") -> bytes:
    registers = ["[registers]", f"RIP: 0x000000004030d19e <{at}+14>"] if at else []
    return "\r\n".join(["half a line", *registers, "Aborted", "", "[backtrace]", *frames, ""]).encode()


def test_a_fault_in_a_helper_is_its_callers() -> None:
    frames = (
        "0x00000000403d78cc <mmu::vm_fault(unsigned long)+28>", "0x0000000040306f1b <page_fault+139>",
        "0x0000000040305c52 <f<int>(char const*)+7>", "0x0000000040305c53 <g()+7>",
    )  # fmt: skip
    assert place_on(report(*frames, at="memcpy")) == place_on(report(*frames)) == "in f<int>(char const*)"
    assert place_on(report(*frames, at="h(int)")) == "in h(int)"
    assert place_on(report(*frames, at="???")) == "", "a program's own"
    assert place_on(report(*frames[:2], "0x0000000fc028dd68 <osv::application::run_main()+68>")) == ""
    assert place_on(b"\xff[backtrace]\n\n0x12 <+>\n") == place_on(b"") == ""
