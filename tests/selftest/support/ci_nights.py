"""What the tests of nights ask about: the workflows' steps, planned cells, results of tests, samples."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.core.matrix import Matrix
from harness.integrations.ci import plan, results, workflow
from harness.metrics.records import Environment, Metric, Sample, Version

ROOT = Path(__file__).parents[3]
HOMES = (workflow.Home(), workflow.Home("osv", "me/osv-harness"))
OF_OSV, ALSO_OF_OSV = "osv:x86_64-qemu-rofs-all", "osv:x86_64-qemu-ramfs-all"

HERE = Environment("h", "c", 2, "none", "tcg", "QEMU 8", "6")
METRIC = Metric("boot.instructions", "instructions", exact=True)


def loaded(name: str, kernel: str = "osv", home: workflow.Home = HOMES[0]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(workflow.workflow(name, kernel, home, "osv-harness ci github"))
    return found


def run_steps(document: Mapping[str, Any], job: str | None = None) -> Iterable[dict[str, Any]]:
    for name, row in document["jobs"].items():
        if job in (None, name):
            yield from (step for step in row["steps"] if "run" in step)


def row(name: str, standing: str = "runs here", reason: str = "") -> dict[str, str]:
    return {"name": name, "standing": standing, "reason": reason}


def planned(*names: str, standing: str = "runs here", reason: str = "") -> list[plan.Planned]:
    return plan.plan(Matrix.load(), [row(name, standing, reason) for name in names], "x86_64")


def case(test: str, outcome: str = "failed", reason: str = "status 1", cell: str = OF_OSV) -> results.Case:
    return results.Case(cell, test, outcome, reason, outcome not in ("passed", "skipped"))


def good(*tests: str, cell: str = OF_OSV) -> list[results.Case]:
    return [case(test, "passed", cell=cell) for test in tests]


def version(name: str) -> Version:
    return Version(name * 12, name, name, 1.0)


def sample(metric: Metric, cell: str, value: float = 1.0, taken: float = 1.0) -> Sample:
    return Sample(metric, value, cell, "", version("a"), HERE, "r", taken)
