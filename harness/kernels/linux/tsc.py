"""Measures the host's time-stamp counter, so that a Linux guest on x86_64 need not time it.

Under TCG the guest reads the host's counter. Timing that with an emulated clock goes wrong on a busy host, and
microvm has no clock for it: Linux hangs there after "tsc: Unable to calibrate against PIT".
"""

import ctypes
import functools
import mmap
import platform
from collections.abc import Callable
from time import CLOCK_MONOTONIC_RAW, clock_gettime_ns, sleep

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0 c3")
SECONDS = 0.05


def clock_parameter() -> str:
    """`tsc_early_khz=N` for the kernel's command line, in whole MHz, so that it is the same in every run.

    Source for hosts that are not x86_64: `cpu_get_host_ticks` in QEMU 7.2, whose counter is the time in ns.
    """
    hertz = counter_hertz() if platform.machine() == "x86_64" else 1e9
    return f"tsc_early_khz={round(hertz / 1e6) * 1000}"


@functools.cache
def counter_hertz() -> float:
    """Ticks per second of an x86_64 host's counter, to about 10 ppm."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(READ_COUNTER)
        start = ctypes.c_char.from_buffer(page)
        try:
            read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(start))
            began, first = _reading(read)
            sleep(SECONDS)
            ended, last = _reading(read)
        finally:
            del start  # the page can't be closed while something points into it
    return (last - first) / (ended - began) * 1e9


def _reading(read: Callable[[], int]) -> tuple[float, int]:
    """A time in ns and the counter at that time: the least interrupted of several readings."""
    readings = []
    for _ in range(20):
        before, ticks, after = clock_gettime_ns(CLOCK_MONOTONIC_RAW), read(), clock_gettime_ns(CLOCK_MONOTONIC_RAW)
        readings.append((after - before, (before + after) / 2, ticks))
    _, moment, ticks = min(readings)
    return moment, ticks
