"""Made-up nights with planted events, for the tests of what is told of them: three filesystems, two kernels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from harness.analysis.regression.triage import reportable_findings
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Better, Environment, Metric, Sample, Version
from harness.report.model.data import ReportData

CELLS = (
    "osv:x86_64-qemu-rofs-all", "osv:x86_64-qemu-zfs-all", "osv:x86_64-qemu-ramfs-all", "osv:x86_64-qemu-ext-all",
    "linux:x86_64-qemu-rofs-all",
)  # fmt: skip
TESTS = tuple(f"tst-{name}.so" for name in ("a", "b", "c", "d", "e", "utimes", "f", "g", "h", "i"))
BEGAN = 1_790_000_000.0
DAY = 86_400.0
HERE = Environment("runner-1", "AMD EPYC 7B13", 4, "performance", "kvm", "QEMU 8.2.2", "6.8.0", 0.4)
PASS = "the program ended with status 0 and the guest ended cleanly"
LARGE = Metric("size.kernel", "B", exact=True)
RATE = Metric("app.nginx.steady.throughput", "requests/s", Better.HIGHER)

Says = Callable[[int, str, str, Random], tuple[str, bool, str] | None]
"""What became of a test, of a night's number, a cell and a test's name: outcome, whether expected, reason. None
leaves it a pass; an outcome that is empty was not run."""


def version(cell: str, night: int, commit: int | None = None) -> Version:
    """The kernel of a night, or of the commit of that number."""
    kernel, number = cell.partition(":")[0], night if commit is None else commit
    name = sha256(f"{kernel}{number}".encode()).hexdigest()[:40]
    described = f"v0.57.0-{300 + number}-g{name[:8]}" if kernel == "osv" else f"6.1.{140 + number}-1"
    return Version(name, name, described, BEGAN + number * DAY - 3600)


@dataclass(frozen=True)
class Planted:
    """`nights` of them: `says` what tests did; `missing` are a night's and a cell's without any result; `sizes`
    give a factor of the kernel's size by night and cell; `commits` the number of a night's commit."""

    nights: int
    says: Says = lambda night, cell, test, dice: None
    missing: frozenset[tuple[int, str]] = frozenset()
    sizes: Callable[[int, str], float] = lambda night, cell: 1.0
    commits: Sequence[int] = ()
    moving_hosts: bool = False
    seed: int = 1

    def told(self) -> ReportData:
        """The whole history, with what the statistics say of its numbers."""
        dice = Random(self.seed)
        judged: list[VerdictRecord] = []
        samples: list[Sample] = []
        for night in range(self.nights):
            for cell in CELLS:
                if (night, cell) not in self.missing:
                    judged += self._judged(night, cell, dice)
                    samples += self._samples(night, cell, dice)
        return ReportData(samples, judged, [], reportable_findings(samples, []))

    def _version(self, night: int, cell: str) -> Version:
        return version(cell, night, self.commits[night] if self.commits else None)

    def _where(self, night: int, cell: str) -> Environment:
        if not self.moving_hosts:
            return HERE
        cpu = ("AMD EPYC 7763", "AMD EPYC 9V74", "Intel Xeon 8370C")[(night * 7 + len(cell)) % 3]
        return replace(HERE, host=f"fv-az{night}-{len(cell)}", cpu=cpu)

    def _judged(self, night: int, cell: str, dice: Random) -> Iterator[VerdictRecord]:
        about, where = self._version(night, cell), self._where(night, cell)
        for number, test in enumerate(TESTS):
            outcome, expected, reason = self.says(night, cell, test, dice) or ("passed", True, PASS)
            if outcome:
                yield VerdictRecord(
                    "unit", cell, test, outcome, expected, reason, 0.5, about, where, f"night-{night}",
                    BEGAN + night * DAY + 60 + number, _id("j", night, cell, test),
                )  # fmt: skip

    def _samples(self, night: int, cell: str, dice: Random) -> Iterator[Sample]:
        about, where, at = self._version(night, cell), self._where(night, cell), BEGAN + night * DAY
        size = round(9e6 * self.sizes(night, cell))
        yield Sample(LARGE, size, cell, "", about, where, f"night-{night}", at, 0.0, _id("s", night, cell))
        for number in range(3):
            rate = 18_000 * dice.gauss(1, 0.02)
            identity = _id("r", number, night, cell)
            yield Sample(RATE, rate, cell, "nginx", about, where, f"night-{night}", at + number, 0.0, identity)


def _id(*parts: object) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:32]
