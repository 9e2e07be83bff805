"""What `osv-harness boot` makes of a guest's end, above all where a reset is how a kernel powers off."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from recording import Recorder

from harness.cli.commands.boot import _conclusion
from harness.core.errors import HarnessError
from harness.core.machine import PROFILES_WITHOUT_ACPI, Image, Machine
from harness.core.matrix import Matrix
from harness.runner.base import Program
from harness.runner.console.matcher import ConsoleMatcher
from harness.runner.console.patterns import patterns_of
from harness.runner.osv.command_line import command_of, programs_of
from harness.runner.osv.observed_run import _ended_cleanly
from harness.runner.session import Session
from harness.vm.base import ExitCause, ExitStatus

RESET = ExitStatus(ExitCause.RESET, "guest-reset")
OFF_OR_HALTED = ExitStatus(ExitCause.OFF_OR_HALTED, "the domain's reason was 0")


def machine(name: str) -> Machine:
    """A machine of the cell; what it boots does not exist."""
    cell = Matrix.load().parse(name, "osv")
    return Machine(Image(cell, Path("kernel"), "", "digest", reads_acpi=cell.kernel == "linux"), "")


def console(kernel: str, text: bytes) -> ConsoleMatcher:
    """A console that has shown the text."""
    monitor = ConsoleMatcher(patterns_of(kernel))
    monitor.feed(text)
    monitor.finish()
    return monitor


@pytest.mark.parametrize(
    ("name", "by_reset"),
    [
        ("osv:x86_64-qemu-rofs-all", False),
        ("osv:x86_64-qemu-rofs-virtio-pci", False),
        ("osv:x86_64-qemu-ramfs-base", True),
        ("osv:x86_64-qemu-rofs-nvme", True),
        ("osv:x86_64-qemu_microvm-ramfs-all", True),
        ("linux:x86_64-qemu_microvm-ramfs-all", False),
        ("osv:x86_64-firecracker-rofs-all", True),
        ("osv:x86_64-cloud_hypervisor-rofs-all", False),
        ("osv:aarch64-qemu-ramfs-base", False),
        ("osv:aarch64-firecracker-rofs-all", False),
    ],
)
def test_how_a_kernel_powers_off_is_known_of_its_machine(name: str, by_reset: bool) -> None:
    assert machine(name).powers_off_by_reset is by_reset


def test_the_profiles_without_acpi_are_osvs() -> None:
    root = os.environ.get("OSV_ROOT")
    if not root:
        pytest.skip("OSV_ROOT names no checkout of OSv")
    folder = Path(root) / "conf/profiles/x64"
    profiles = {path.stem for path in folder.glob("*.mk")}
    assert {name for name in profiles if not _sets_acpi(folder, name)} == PROFILES_WITHOUT_ACPI


def _sets_acpi(folder: Path, name: str) -> bool:
    """Whether the profile, or one that it includes, sets conf_drivers_acpi, by itself or by what base.mk
    makes of its other drivers."""
    text = (folder / f"{name}.mk").read_text()
    if re.search(r"^conf_drivers_(acpi|pvpanic|hpet)\?=1", text, re.MULTILINE):
        return True
    return any(_sets_acpi(folder, other) for other in re.findall(r"^include .*/([\w-]+)\.mk", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "exit_status", "text", "status", "told"),
    [
        ("osv:x86_64-qemu-rofs", ExitStatus(ExitCause.POWERED_OFF, "guest-shutdown"), b"", 0, "guest-shutdown"),
        ("osv:x86_64-qemu-rofs", RESET, b"Powering off.\n", 1, "guest-reset"),
        ("osv:x86_64-qemu_microvm-ramfs", RESET, b"Powering off.\n", 0, "powers this machine off"),
        ("osv:x86_64-qemu_microvm-ramfs", RESET, b"OSv v0.57\n", 1, "triple fault"),
        (
            "osv:x86_64-qemu_microvm-ramfs",
            ExitStatus(ExitCause.PANICKED, "guest-panic"),
            b"Powering off.\n",
            1,
            "panic",
        ),
        ("osv:x86_64-qemu_microvm-ramfs", None, b"", 1, "still ran"),
        ("osv:x86_64-xen-ramfs", OFF_OR_HALTED, b"Powering off.\n", 0, "reason was 0"),
        ("osv:x86_64-xen-ramfs", OFF_OR_HALTED, b"Aborted\n", 1, "had not said that it powers off"),
        ("linux:x86_64-qemu_microvm-ramfs", RESET, b"reboot: Power down\n", 1, "guest-reset"),
    ],
)
def test_a_reset_is_an_end_only_where_it_powers_off_and_the_kernel_said_so(
    name: str, exit_status: ExitStatus | None, text: bytes, status: int, told: str
) -> None:
    of = machine(name)
    monitor = console(of.image.cell.kernel, text)
    got, words = _conclusion(of, exit_status, monitor)
    assert (got, told in words) == (status, True), words


LINUX, OSV = "linux:qemu-rofs", "osv:x86_64-qemu-rofs"


def boot(cell: str, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """What `boot CELL -- WORDS` does without a terminal; nothing is on standard input, or what is `given`."""
    command = [sys.executable, "-m", "harness.cli", "boot", cell, *(["--", *words] if words else [])]
    options: dict[str, object] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    return subprocess.run(command, capture_output=True, timeout=300, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("words", "status"),
    [(["true"], 0), (["false"], 1), (["sh", "-c", 'echo "a  b"; exit 3'], 3), (["/no/program"], 127)],
)
def test_a_commands_status_is_the_boots_on_linux(words: list[str], status: int) -> None:
    done = boot(LINUX, *words)
    assert done.returncode == status, done.stdout + done.stderr
    assert b"a  b" in done.stdout or len(words) == 1


ODD = ["a  b", "it's", 'say "no"', "$HOME", "$(id)", ";", "&", "|", "*", "", "-x", "\\n\\", "tab\tand\nline", "#"]


def test_words_come_unchanged_on_linux() -> None:
    done = boot(LINUX, "printf", "[%s]", *ODD, "\u00e9")
    wanted = "".join(f"[{word}]" for word in [*ODD, "\u00e9"]).split("\n")
    # Tabs are a terminal's, which may show them as spaces.
    shown = done.stdout.decode().splitlines()
    for line in wanted:
        assert any(line in one for one in shown), (line, shown)


@pytest.mark.parametrize(("given", "status"), [(b"", 0), (b"echo from  input\nexit 4\n", 4), (None, 0)])
def test_without_a_terminal_a_shell_runs_what_is_on_standard_input(given: bytes | None, status: int) -> None:
    done = boot(LINUX, given=given)
    assert done.returncode == status, done.stdout + done.stderr
    assert b"the guest ended" in done.stdout
    assert (b"from input" in done.stdout) == bool(given)


def test_a_shell_of_linux_is_typed_to() -> None:
    child = pexpect.spawn(sys.executable, ["-m", "harness.cli", "boot", LINUX], timeout=200, encoding="utf-8")
    try:
        child.expect("# ")
        child.send("echo $((6 * 7)) times\r")
        child.expect("42 times")
        child.expect("# ")
        child.send("exit\r")
        child.expect("the guest ended: guest-shutdown")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0


@pytest.mark.parametrize(
    ("words", "status"),
    [(["/tests/tst-hello.so"], 0), (["/tests/tst-utimes.so"], 1), (["--verbose", "/tests/nothere.so"], 1)],
)
def test_a_commands_status_is_the_boots_on_osv(session: Session, words: list[str], status: int) -> None:
    if session.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")
    done = boot(OSV, *words)
    assert done.returncode == status, done.stdout + done.stderr
    assert b"the guest ended" in done.stdout


def test_words_come_unchanged_on_osv(osv_with_faults: Callable[[str], Recorder]) -> None:
    words = ["/tmp/faults/fault.so", "words", *ODD]
    command = command_of(words)
    assert programs_of(command) == (words[0],)
    run = osv_with_faults("x86_64").run(Program("words", command, 60.0))
    said = re.findall(rb"^word: ([0-9a-f]*)\r?$", run.transcript.raw, re.MULTILINE)
    assert [bytes.fromhex(word.decode()).decode() for word in said] == ODD


@pytest.mark.parametrize("word", ["\u00e9", "a\0b", "x$y=z"])
def test_words_that_osvs_parser_can_not_have_are_refused(word: str) -> None:
    with pytest.raises(HarnessError, match="can't have the word"):
        command_of(["/x.so", word])


@pytest.mark.parametrize(("text", "clean"), [(b"Powering off.\n", True), (b"Aborted\n", False)])
def test_what_powered_off_or_halted_ended_cleanly_only_by_the_kernels_word(text: bytes, clean: bool) -> None:
    of = machine("osv:x86_64-xen-ramfs")
    assert _ended_cleanly(of, OFF_OR_HALTED, console("osv", text), None) is clean
