"""Detects connections that a busy listener had no room for, so that the kernel made them wait.

QEMU's user network listens for a forwarded port with a backlog of one connection (libslirp, `listen(s, 1)`). If
users connect at once, the host's kernel drops the last packet of a handshake silently. The client sends its first
request again after 0.2, 0.4, 0.8 and 1.6 s, so the request takes 3000 ms of which the guest knows nothing. Seen
with redis-benchmark on a busy host: 190 requests/s, with a p99.9 of 3000.32 ms. Source: tcp(7), ss(8).

It affects every generator when its users connect: their first requests are late, and in a closed loop a waiting
user asks less, so the throughput changes too.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.workloads.load.result import Result

LATE = 200_000
"""Microseconds after which a dropped packet is sent again first. Source: Linux, TCP_RTO_MIN."""

SECONDS = 10.0
"""The time limit of ss."""


def listen_drops(port: int, command_prefix: Sequence[str] = ()) -> int:
    """How often the listener at the port had no room, since it listens; 0 if ss can't tell."""
    if shutil.which("ss") is None:
        return 0
    command = [*command_prefix, "ss", "-H", "-ltmn", f"sport = :{port}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(int(found) for found in re.findall(r"skmem:\([^)]*\bd(\d+)\)", done.stdout))


def with_drop_check(run_once: Callable[[], Result], port: int, command_prefix: Sequence[str] = ()) -> Result:
    """Run one load. Its result is marked as limited by the generator if the listener had no room meanwhile."""
    before = listen_drops(port, command_prefix)
    result = run_once()
    return with_drops(result, listen_drops(port, command_prefix) - before)


def with_drops(result: Result, drops: int) -> Result:
    """The result of a load with this many drops, marked as limited if they affect its figures.

    At a constant rate they do only if an answer was that late: nothing else there depends on one user.
    """
    why = why_limited(drops)
    if not why or (result.mode == "constant rate" and result.percentile(100) < LATE):
        return result
    before = result.generator
    return replace(result, generator=replace(before, limited=True, why="; ".join(filter(None, (why, before.why)))))


def why_limited(drops: int) -> str:
    """What the drops of one load mean for its figures; empty if there were none."""
    if drops <= 0:
        return ""
    times = "once" if drops == 1 else f"{drops} times"
    return f"the forwarded port had no room for a connection {times}, whose first request came 0.2 to 3 s late"
