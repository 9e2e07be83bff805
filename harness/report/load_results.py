"""Writes the results of an app's loads, as data and as a plot, to the folder of its run."""

import json
import math
from pathlib import Path
from typing import Any

from harness.core.errors import HostError
from harness.workloads.apps.run import AppRun
from harness.workloads.load.run import Result

PERCENTILES = (50.0, 90.0, 99.0, 99.9)


def measured(done: AppRun) -> dict[str, Any]:
    """The run's figures as plain JSON values: seconds, bytes, requests/s, latencies in microseconds. null means
    not measured."""
    return {
        "ready_seconds": round(done.ready_seconds, 4) or None,
        "memory_bytes": done.memory.private or None,
        "image_bytes": done.image_size,
        "loads": [_figures(result) for result in done.loads],
    }


def write_loads(done: AppRun, folder: Path) -> None:
    """Write `loads.json`, whole results with their histograms, and `loads.svg`, if there was any load. Raises
    `HostError` if they can't be written."""
    if not done.loads:
        return
    try:
        (folder / "loads.json").write_text(json.dumps([result.to_json() for result in done.loads], indent=1))
        if any(result.by_second for result in done.loads):
            _plot(done, folder / "loads.svg")
    except OSError as error:
        raise HostError(
            f"The loads of {done.app.name} ({done.run.verdict.outcome}) could not be kept in {folder}: "
            f"{error.strerror}.",
            "Free space there, or give --runs another folder.",
        ) from error


def _figures(result: Result) -> dict[str, Any]:
    return {
        "load": result.scenario,
        "tool": result.tool,
        "mode": result.mode,
        "requests": result.requests,
        "failures": dict(result.failures),
        "throughput": round(result.throughput, 1),
        "limited_by_generator": result.generator.why if result.generator.limited else "",
        **{f"p{percent:g}": _or_none(result.percentile(percent)) for percent in PERCENTILES},
    }


def _or_none(figure: float) -> float | None:
    """None for "not a number", which JSON lacks: the latency of a load without a right answer."""
    return None if math.isnan(figure) else round(figure, 1)


def _plot(done: AppRun, path: Path) -> None:
    """Throughput and latency by second, one column for each load."""
    # Half a second to import, which nobody pays who plots nothing.
    from matplotlib.figure import Figure

    shown = [result for result in done.loads if result.by_second]
    figure = Figure(figsize=(5 * len(shown), 5), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False, sharex="col")
    for column, result in enumerate(shown):
        seconds = range(1, len(result.by_second) + 1)
        upper, lower = axes[0][column], axes[1][column]
        upper.plot(seconds, [second.requests for second in result.by_second], marker=".")
        failures = [second.failures for second in result.by_second]
        if any(failures):
            upper.plot(seconds, failures, marker="x", color="tab:red", label="failures")
            upper.legend()
        upper.set(title=f"{done.app.name}: {result.scenario} ({result.mode})", ylabel="answers/s", ylim=(0, None))
        lower.plot(seconds, [second.p50 / 1000 for second in result.by_second], marker=".", label="p50")
        lower.plot(seconds, [second.p99 / 1000 for second in result.by_second], marker=".", label="p99")
        lower.set(xlabel="second", ylabel="latency, ms", yscale="log")
        lower.legend()
    figure.savefig(path, metadata={"Date": None})
