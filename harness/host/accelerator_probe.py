"""Probes whether an accelerator runs guests, by a tiny guest, assembled here, that has to answer.

That /dev/kvm opens proves nothing: nested and paravirtual KVMs exist that open, create a machine, run a few
instructions and then hang or abort. So the tiny guests do what the first instructions of a real kernel do, on the
machines and the CPU model that real kernels get.
"""

import json
import os
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.errors import HostError
from harness.core.events import NOT_STORED, publish
from harness.core.text import printable
from harness.core.whole_files import write_whole
from harness.host.cache import Cache, digest_of
from harness.host.process.die_with_parent import die_with_parent
from harness.host.process.timeout import run_with_timeout

KVM = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

WHAT = "the proof of what this host runs, which is found anew each time"
"""What a full disk does not keep."""

LIMITS = {"kvm": 2.0, "tcg": 10.0}
"""The time limit of a tiny guest, in seconds. Both answer within 0.2 s; only a busy host makes TCG slower."""

ANSWERS = {"x86_64": (85, b""), "aarch64": (0, b"K")}
"""The expected answer: QEMU's exit status, and its standard output."""

# The last 256 bytes of a firmware, at 0xfff00 in real mode. The answer is 42 to port 0xf4, where
# isa-debug-exit makes QEMU exit with 42 * 2 + 1.
_X86_CODE = (
    bytes.fromhex(
        "fa 6631c0 8ec0 8ed8"  # cli; eax, es, ds = 0
        "66bf00100000 66b9000c0000 6766f3ab"  # clear three pages from 0x1000
        "66c7060010 03200000"  # PML4[0]: to 0x2000
        "66c7060020 03300000"  # PDPT[0]: to 0x3000
        "66c7060030 83000000"  # PD[0]: a page of 2 MiB at 0
        "66b800100000 0f22d8"  # cr3 = 0x1000
        "66b820060000 0f22e0"  # cr4 = PAE | OSFXSR | OSXMMEXCPT
        "66b9800000c0 0f32 660d00010000 0f30"  # EFER |= LME
        "2e660f0116 a0ff"  # lgdt cs:[0xffa0]
        "66b801000080 0f22c0"  # cr0 = PG | PE
        "66ea 6dff0f00 0800"  # jump to 64-bit code at 0xfff6d
        "31c0 0fa2 0f31"  # cpuid 0; rdtsc
        "bc00800000 b82a000000"  # esp = 0x8000; eax = 42
        "66480f6ec0 66480f7ec3"  # xmm0 = rax; rbx = xmm0, where a paravirtual KVM was seen to end real kernels
        "53 58 e6f4"  # push rbx; pop rax; out 0xf4, al
        "f4 ebfd 6690"  # halt for ever
        "0000000000000000 00000000009a2000"  # the GDT at 0xfff90: null, 64-bit code
        "0f00 90ff0f00"  # its limit and address
    ).ljust(0xF0, b"\0")
    + bytes.fromhex("ea 00ff 00f0")  # the reset vector: jump to f000:ff00
).ljust(0x100, b"\0")

# Anywhere in RAM. The answer is a K on the serial port, and PSCI's SYSTEM_OFF.
_ARM_CODE = b"".join(
    word.to_bytes(4, "little")
    for word in (
        0xD2A00600,  # mov x0, #0x300000
        0xD5181040,  # msr cpacr_el1, x0
        0xD5033FDF,  # isb
        0x52800961,  # mov w1, #'K'
        0x1E270020,  # fmov s0, w1
        0x1E260002,  # fmov w2, s0
        0xD2A12003,  # mov x3, #0x9000000, the PL011 of QEMU's virt machine
        0xB9000062,  # str w2, [x3]
        0x52800100,  # mov w0, #8
        0x72B08000,  # movk w0, #0x8400, lsl #16
        0xD4000002,  # hvc #0
        0xD503207F,  # wfi
        0x17FFFFFF,  # b the wfi
    )
)

GUESTS = {"x86_64": bytes(65536 - len(_X86_CODE)) + _X86_CODE, "aarch64": _ARM_CODE}
"""The tiny guests, each as the content of the file that `command` names."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether the tiny guest answered under an accelerator, after how many seconds, or what happened instead."""

    accelerator: str
    arch: str
    answered: bool
    seconds: float
    detail: str


def command(binary: str, arch: str, accelerator: str, guest: str) -> list[str]:
    """The command line that runs the tiny guest in the file `guest`; it exits when the guest answers."""
    machine = {"x86_64": "q35", "aarch64": "virt,gic-version=max"}[arch]
    common = ["-accel", accelerator, "-cpu", "max", "-m", "16", "-nodefaults", "-display", "none", "-no-reboot"]
    loaded = {
        "x86_64": ["-bios", guest, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
        "aarch64": ["-device", f"loader,file={guest},addr=0x40200000,cpu-num=0", "-serial", "stdio"],
    }
    return [binary, "-M", machine, *common, *loaded[arch]]


def run_probe(binary: Path, arch: str, accelerator: str) -> ProbeResult:
    """Run the tiny guest now. Raises `HostError` if QEMU can't be started."""
    with os.fdopen(os.memfd_create("guest"), "wb", buffering=0) as guest:
        guest.write(GUESTS[arch])
        started = time.monotonic()
        # If the probing process is killed, its QEMU ends too.
        qemu = die_with_parent(command(str(binary), arch, accelerator, f"/proc/{os.getpid()}/fd/{guest.fileno()}"))
        try:
            done = run_with_timeout(qemu, LIMITS[accelerator])
        except subprocess.TimeoutExpired:
            return ProbeResult(
                accelerator, arch, False, LIMITS[accelerator], "a tiny guest started and never answered"
            )
        except OSError as error:
            raise HostError(f"setpriv can't be run: {error.strerror}.", "Install util-linux.") from error
        seconds = time.monotonic() - started
    if (done.returncode, done.stdout) == ANSWERS[arch]:
        return ProbeResult(accelerator, arch, True, seconds, f"a tiny guest answered in {seconds:.1f} s")
    words = printable(done.stderr.strip().partition(b"\n")[0]) or "without a word"
    return ProbeResult(accelerator, arch, False, seconds, f"QEMU {_end(done.returncode)}: {words}")


def cached_probe(binary: Path, arch: str, accelerator: str, cache: Cache, again: bool = False) -> ProbeResult:
    """The result of a probe since this boot of the host, or of one now; `again` probes anew.

    The result is kept until the host is rebooted, QEMU is replaced, or /dev/kvm or its permissions change. One
    process at a time probes; the others wait for its result.
    """
    path = cache.root / "host" / f"{digest_of(_cache_parts(binary, arch, accelerator))}.json"
    if not again and (cached := _read(path)):
        return cached
    with ExitStack() as stack:
        try:
            stack.enter_context(cache.locked("host-proof"))
        except HostError as error:
            publish(NOT_STORED, WHAT, error.message)
            return run_probe(binary, arch, accelerator)
        if not again and (cached := _read(path)):
            return cached
        result = run_probe(binary, arch, accelerator)
        try:
            write_whole(path, json.dumps(asdict(result)), make_folder=True)
        except HostError as error:  # a full disk: the next process probes again
            publish(NOT_STORED, WHAT, error.message)
    return result


def _cache_parts(binary: Path, arch: str, accelerator: str) -> dict[str, object]:
    at = binary.resolve().stat()
    try:
        kvm = KVM.stat()
        device = [kvm.st_mode, kvm.st_uid, kvm.st_gid]
    except OSError:
        device = []
    return {
        "boot": BOOT_ID.read_text().strip(),
        "qemu": [str(binary), at.st_ino, at.st_size, at.st_mtime_ns],
        "kvm": device if accelerator == "kvm" else [],
        "user": [os.geteuid(), sorted(os.getgroups())],
        "guest": [arch, command("qemu", arch, accelerator, ""), GUESTS[arch].hex()[-512:]],
    }


def _read(path: Path) -> ProbeResult | None:
    try:
        return ProbeResult(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _end(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"
