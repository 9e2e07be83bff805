"""What a history of many nights costs: its import, findings, a report of its last 90 days and one of all of it,
and the live page.

Each night judges 170 tests and takes a number of 40 series, in each of 60 cells: of a year 3.7 million verdicts.
Every command runs in a process of its own, whose processor time and memory count: another on the machine changes
neither much.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from harness.core.matrix import Matrix
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Commit, Environment, Metric, Sample, Version

CELLS, TESTS = 60, 170
EXACT = (
    "boot.instructions", "boot.instructions_to_program", "size.kernel", "size.compressed", "size.image",
    "size.symbols", "memory.used", *(f"boot.instructions.p{number}" for number in range(9)),
    *(f"size.section.s{number}" for number in range(12)),
)  # fmt: skip
NOISY = (
    "boot.wall", "boot.wall.end", "memory.resident", "memory.private",
    *(f"app.a{number}.most.{what}" for number in range(2) for what in ("throughput", "p50", "p99", "ready")),
)  # fmt: skip
BEGAN, DAY = 1.75e9, 86400.0
PLOTLY = "plotly.js"
EVERY = 40
"""Nights after each of which all exact numbers change a little."""


MOST_WHOLE = 2_000_000
"""Records of the largest history of which all is reported and served."""
HARNESS = (sys.executable, "-c", "from harness.cli import main; raise SystemExit(main())")
REQUESTS = 20
"""How often the live page is asked for."""


class Used(NamedTuple):
    """Seconds of processors, and the most bytes of memory."""

    user: float
    system: float
    memory: int


def nights(counts: Sequence[int], url: str, cells_: int = CELLS) -> None:
    """Print a table; `url` is that of an empty database for one count, or nothing for files that go away again."""
    print("| nights | records | what | wall s | user s | system s | MiB | first KB | all MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="osv-harness-nights-") as name:
            _one(count, url or f"{name}/history.sqlite", Path(name), cells()[:cells_])


def _one(count: int, url: str, folder: Path, names: Sequence[str]) -> None:
    lines = folder / "history.jsonl"
    records = 0
    with lines.open("wb") as file:
        for night in range(count):
            for record in _night(night, names):
                file.write(line_of(record))
                records += 1
    since = datetime.fromtimestamp(BEGAN + (count - 90) * DAY, UTC).strftime("%Y-%m-%d")
    page = folder / "report.html"
    runs = {
        "import": ["history", "import", str(lines), "--history", url],
        "findings": ["findings", "--history", url],
        "report of 90 days": ["report", "--history", url, "--since", since, "--output", str(page)],
    }
    if count > 90 and records <= MOST_WHOLE:
        runs["report of all nights"] = ["report", "--history", url, "--output", str(page)]
    for what, words in runs.items():
        wall, used = _run([*HARNESS, *words])
        size = _size(page) if what.startswith("report") else " | "
        _print(count, records, what, wall, used, size)
        if what == "import":
            lines.unlink()
    if records <= MOST_WHOLE:
        render = [sys.executable, "-m", "harness.integrations.server.render", str(folder)]
        wall, used = _run(render, OSV_HARNESS_HISTORY=url)
        _print(count, records, "`serve` makes its page", wall, used)
        wall, used = _served(url)
        _print(count, records, f"`serve` itself, asked {REQUESTS} times", wall, used)


def _print(count: int, records: int, what: str, wall: float, used: Used, size: str = " | ") -> None:
    row = f"{count} | {records:,} | {what} | {wall:.0f} | {used.user:.1f} | {used.system:.1f}"
    print(f"| {row} | {used.memory / 2**20:.0f} | {size} |", flush=True)


def _served(url: str) -> tuple[float, Used]:
    """What a server used until its page was made and sent `REQUESTS` times, without the process that made it."""
    start = monotonic()
    command = [*HARNESS, "serve", "--history", url, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        while not _sent(f"{address}api/facts"):
            pass
        for _ in range(REQUESTS):
            _sent(address)
        return monotonic() - start, _used_by(process.pid)
    finally:
        process.terminate()
        process.wait()


def _used_by(pid: int) -> Used:
    """What a process has used itself, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return Used(user, system, int(peak[1]) * 1024 if peak else 0)


def _sent(address: str) -> bool:
    """Whether the server has it already; it waits some seconds before it says no."""
    try:
        with urlopen(address) as answer:
            return bool(answer.read())
    except HTTPError:
        return False


def _size(page: Path) -> str:
    """What a browser loads first (KB), and the page with all its data (MB); without plotly.js, always the same."""
    data = sum(one.stat().st_size for one in Path(f"{page.with_suffix('')}-data").iterdir() if one.name != PLOTLY)
    first = page.stat().st_size
    return f"{first / 1e3:.0f} | {(first + data) / 1e6:.1f}"


def _run(command: Sequence[str], **settings: str) -> tuple[float, Used]:
    """Seconds on the wall, and what the process used of processors and memory. Findings end with 1."""
    start = monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **settings})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{json.dumps(command)} ended with {process.returncode}")
    return monotonic() - start, Used(used.ru_utime, used.ru_stime, used.ru_maxrss * 1024)


@cache
def cells() -> tuple[str, ...]:
    """The first cells of OSv on x86_64."""
    matrix = Matrix.load()
    every = (str(cell) for cell in matrix.cells("osv") if not matrix.invalid(cell))
    return tuple(islice((name for name in every if name.startswith("osv:x86_64-")), CELLS))


def _night(night: int, names: Sequence[str]) -> Iterator[Commit | Sample | VerdictRecord]:
    dice = random.Random(night)
    commit = f"{night:040x}"
    yield Commit(commit, f"{night - 1:040x}" if night else "")
    where = Environment(
        "runner-1", "a cpu", 4, "performance", "tcg", "QEMU 7.2.22", "6.1.0", dice.random(), "SeaBIOS 1.16.2"
    )
    builder = "compiler=gcc (Debian 12.2.0-14+deb12u1) 12.2.0; linker=GNU ld 2.40; boost=1_74"
    taken, run = BEGAN + night * DAY, f"night-{night}"
    for number, cell in enumerate(names):
        named = f"v0.57.0-{night}-g{commit[:8]}"
        version = Version(commit, f"{night * CELLS + number:064x}", named, taken - 3600, builder)
        for name in EXACT:
            value = 1e6 + night // EVERY * 1000
            yield _sample(Metric(name, "x", exact=True), value, cell, version, where, run, taken)
        for name in NOISY:
            yield _sample(Metric(name, "x"), dice.gauss(100, 1), cell, version, where, run, taken)
        for test in range(TESTS):
            bad = dice.random() < 0.001
            yield VerdictRecord(
                "unit", cell, f"tst-{test}.so", "crashed" if bad else "passed", not bad, "an assertion" * bad,
                dice.random(), version, where, run, taken,
            )  # fmt: skip


def _sample(
    metric: Metric, value: float, cell: str, version: Version, where: Environment, run: str, taken: float
) -> Sample:
    return Sample(metric, value, cell, "", version, where, run, taken, procedure="memory=256; cpus=1")
