"""Numbers that a guest's own benchmarks print, parsed by the catalog's patterns."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.errors import HarnessError
from harness.metrics.records import Better, Metric, Sample
from harness.metrics.sampler import Sampler
from harness.runner import catalog
from harness.runner.base import Program
from harness.runner.verdict import Outcome

MOST_NUMBERS = 50
MOST_LINES = 5000


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A program that prints numbers: each line that matches a pattern of its `numbers` is one."""

    program: Program
    numbers: tuple[Mapping[str, str], ...]


def benchmarks(kernel: str, accelerator: str) -> list[Benchmark]:
    """The benchmarks of a kernel's catalog."""
    return [_benchmark(name, row, catalog.scale(accelerator)) for name, row in catalog.benchmarks(kernel).items()]


def run_benchmark(sampler: Sampler, wanted: Benchmark) -> list[Sample]:
    """Run it in a new guest. Raises `HarnessError` if it does not pass, or prints none of its numbers."""
    program = wanted.program
    run = sampler.session.run_on(sampler.image, program, alone=True)
    if run.verdict.outcome is not Outcome.PASSED:
        raise HarnessError(f"{program.name} did not pass on {sampler.image.cell}: {run.verdict.reason}.")
    found = list(numbers(wanted, (line.text for line in run.transcript.tail(MOST_LINES))))
    if not found:
        raise HarnessError(
            f"{program.name} passed on {sampler.image.cell} and printed no number that its catalog knows.",
            f"Mend its patterns in catalog/{sampler.image.cell.kernel}.toml.",
        )
    return [sampler.take(metric, value, program.name) for metric, value in found]


def numbers(wanted: Benchmark, lines: Iterable[str]) -> Iterable[tuple[Metric, float]]:
    """The numbers in a console's lines: each metric once, and at most `MOST_NUMBERS`."""
    seen: set[str] = set()
    for line in lines:
        for row in wanted.numbers:
            match = re.search(row["line"], line)
            if not match or len(seen) >= MOST_NUMBERS:
                continue
            metric = _metric(row, match)
            value = float(match["value"])
            if metric.name not in seen and math.isfinite(value):
                seen.add(metric.name)
                yield metric, value


def _benchmark(name: str, row: Mapping[str, Any], scale: float) -> Benchmark:
    program = Program(
        name, row["command"], float(row["limit"]) * scale, row.get("cpus", 1), row.get("memory", 512),
    )  # fmt: skip
    return Benchmark(program, tuple(row["number"]))


def _metric(row: Mapping[str, str], match: re.Match[str]) -> Metric:
    """The metric of a row; `{what}` in its name is replaced by the group of the match, as one word."""
    words = {key: re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:60] for key, text in match.groupdict("").items()}
    return Metric(row["metric"].format(**words), row["unit"], Better(row.get("better", "lower")))
