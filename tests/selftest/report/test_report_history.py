"""A made-up history for the tests of reports: two kernels, two filesystems, ten commits, a step for the worse."""

import random
from collections.abc import Iterator
from hashlib import sha256
from itertools import count

from harness.analysis.regression.finding import Finding
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Better, Document, Environment, Metric, Sample, Version
from harness.report.model.data import ReportData
from harness.workloads.load import histogram as latency
from harness.workloads.load.result import Generator, Result, Second

COMMITS = 10
CELLS = (
    "osv:x86_64-qemu-rofs-all",
    "osv:x86_64-qemu-ramfs-all",
    "linux:x86_64-qemu-rofs-all",
    "linux:x86_64-qemu-ext-all",
)
TESTS = 30
BEGAN = 1_790_000_000.0
DAY = 86_400.0
STEP = 6
"""The commit by which boot and throughput got worse."""

HERE = Environment("runner-1", "AMD EPYC 7B13", 4, "performance", "tcg", "QEMU 7.2.22", "6.1.0-40-amd64", 0.4)
PHASES = {"bios": 9e6, "loader": 21e6, "elf": 33e6, "drivers": 52e6, "rootfs": 14e6, "program": 8e6}
SECTIONS = {"text": 3.1e6, "rodata": 1.2e6, "eh_frame": 0.8e6, "data": 0.3e6, "bss": 1.9e6, "dynsym": 0.2e6}


def version(cell: str, number: int) -> Version:
    """The cell's kernel at a commit."""
    kernel = cell.partition(":")[0]
    commit = sha256(f"{kernel}{number}".encode()).hexdigest()[:40]
    described = f"v0.57.0-{390 + number}-g{commit[:8]}" if kernel == "osv" else f"6.1.{140 + number}-1"
    return Version(commit, sha256(f"{cell}{number}".encode()).hexdigest(), described, BEGAN + number * DAY)


def history() -> ReportData:
    """The same every time."""
    chance = random.Random(1)
    samples = [sample for cell in CELLS for number in range(COMMITS) for sample in _samples(cell, number, chance)]
    judged = [one for cell in CELLS for number in range(COMMITS) for one in _judged(cell, number, chance)]
    documents = [_load(cell, number, chance) for cell in CELLS for number in (COMMITS - 2, COMMITS - 1)]
    return ReportData(samples, judged, documents, _findings())


def _samples(cell: str, number: int, chance: random.Random) -> Iterator[Sample]:
    about = version(cell, number)
    # One after the other, as they are taken: phases of a boot are told apart by that.
    times = count(BEGAN + number * DAY + 3600, 0.01)
    slower = 1.06 if number >= STEP and cell.startswith("osv") else 1.0

    def sample(metric: Metric, value: float, subject: str = "", spread: float = 0.0) -> Sample:
        taken = next(times)
        identity = _id(metric.name, cell, taken)
        return Sample(metric, value, cell, subject, about, HERE, f"run-{number}", taken, spread, identity)

    grown = {phase: round(size * (slower if phase == "drivers" else 1.0)) for phase, size in PHASES.items()}
    yield sample(Metric("boot.instructions", "instructions", exact=True), sum(grown.values()))
    for phase, size in grown.items():
        yield sample(Metric(f"boot.instructions.{phase}", "instructions", exact=True), size)
    for _ in range(5):
        yield sample(Metric("boot.wall", "s"), 0.21 * slower * chance.gauss(1, 0.02))
    yield sample(Metric("memory.minimum", "MiB", exact=True), 24 + number // 4)
    yield sample(Metric("memory.resident", "B"), 61e6 * chance.gauss(1, 0.01), spread=1e6)
    for section, size in SECTIONS.items():
        yield sample(Metric(f"size.section.{section}", "B", exact=True), size + 4096 * number)
    yield sample(Metric("size.kernel", "B", exact=True), sum(SECTIONS.values()) + 6 * 4096 * number)
    for _ in range(3):
        throughput = 18_000 / slower * chance.gauss(1, 0.03)
        yield sample(Metric("app.nginx.steady.throughput", "requests/s", Better.HIGHER), throughput)
        yield sample(Metric("app.nginx.steady.p99", "us"), 900 * slower * chance.gauss(1, 0.05))
    yield sample(
        Metric("guest.tst-bench.switches", "switches/s", Better.HIGHER),
        1.2e6 * chance.gauss(1, 0.02),
        "tst-bench.so",
    )


def _judged(cell: str, number: int, chance: random.Random) -> Iterator[VerdictRecord]:
    for test in range(TESTS):
        outcome, expected, reason = "passed", True, "the program ended with status 0 and the guest ended cleanly"
        if test == 3 and number >= STEP:
            outcome, expected, reason = "crashed", False, "page fault outside application, addr: 0x10"
        elif test == 7:
            outcome, expected, reason = "failed", True, "the program ended with status 1"
        elif test == 9:
            outcome, reason = "skipped", "the program says that it can't run here (status 77)"
        yield VerdictRecord(
            "unit", cell, f"tst-{test:02}.so", outcome, expected, reason, abs(chance.gauss(0.4, 0.1)),
            version(cell, number), HERE, f"run-{number}", BEGAN + number * DAY + 60 * test,
            _id("judged", cell, number, test),
        )  # fmt: skip


def _load(cell: str, number: int, chance: random.Random) -> Document:
    histogram = latency.empty()
    for _ in range(5000):
        latency.record(histogram, round(chance.lognormvariate(6, 0.5)))
    seconds = tuple(
        Second(round(chance.gauss(1000, 60)), 0, chance.gauss(400, 20), chance.gauss(1300, 90)) for _ in range(10)
    )
    result = Result(
        "wrk", "steady", "closed loop", BEGAN, 10.0, 10_000, {}, seconds, latency.encoded(histogram), 10**7,
        Generator(0.4),
    )  # fmt: skip
    return Document(
        "load", cell, "nginx", result.to_json(), version(cell, number), f"run-{number}", BEGAN + number * DAY,
        _id("load", cell, number),
    )  # fmt: skip


def _id(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:32]


def _findings() -> list[Finding]:
    found = []
    for cell in CELLS[:2]:
        before, after = version(cell, STEP - 1), version(cell, STEP)
        old = sum(PHASES.values())
        new = old + PHASES["drivers"] * 0.06
        boot = Metric("boot.instructions", "instructions", exact=True)
        change = new / old - 1
        found.append(Finding(boot, cell, "", before, after, old, new, change, (change, change), 1e-9, (6, 4), 1))
        rate = Metric("app.nginx.steady.throughput", "requests/s", Better.HIGHER)
        found.append(
            Finding(
                rate, cell, "", before, after, 18_000, 17_000, -0.0556, (-0.071, -0.04), 2e-6, (18, 12), 1, True
            )
        )
    return found


def test_the_history_is_what_a_report_must_be_able_to_show() -> None:
    """Two kernels, two filesystems each, ten commits of each."""
    told = history()
    assert {sample.cell.partition(":")[0] for sample in told.samples} == {"osv", "linux"}
    assert all(len({one.version.commit for one in told.samples if one.cell == cell}) == COMMITS for cell in CELLS)
