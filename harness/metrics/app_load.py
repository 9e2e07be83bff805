"""Turns an app's run under load into samples."""

import re
import time

from harness.metrics.records import Better, Document, Metric, Sample
from harness.metrics.sampler import Sampler
from harness.workloads.apps.run import AppRun
from harness.workloads.load.run import Result
from harness.workloads.load.versions import tool_version

PERCENTILES = (50.0, 99.0)


def samples_of(sampler: Sampler, app_run: AppRun, duration: float | None = None) -> list[Sample]:
    """Throughput (requests/s) and latency (microseconds) of each load, time to the first answer (s), memory of the
    hypervisor's process (B). A load that its generator limited gives no samples: it says nothing about the kernel.

    `duration` (seconds) is that of each load, if it was not the load's own. How loads were applied is part of
    their procedure, and of the procedure of the memory that is measured after them.
    """
    name = app_run.app.name
    samples = []
    if app_run.ready_seconds:
        samples.append(sampler.take(Metric(f"app.{name}.ready", "s"), app_run.ready_seconds, name))
    if app_run.memory.resident:
        every = {
            "loads": ", ".join(f"{one.scenario} {_seconds(app_run, one, duration):g} s" for one in app_run.loads)
        }
        for kind, size in (("resident", app_run.memory.resident), ("private", app_run.memory.private)):
            samples.append(sampler.take(Metric(f"memory.{kind}", "B"), size, name, procedure=every))
    for result in app_run.loads:
        if result.requests and not result.generator.limited and not result.error:
            samples += _load_samples(sampler, app_run, result, duration)
    return samples


def _seconds(app_run: AppRun, result: Result, duration: float | None) -> float:
    return duration if duration is not None else app_run.app.loads[result.scenario].duration


def documents_of(sampler: Sampler, app_run: AppRun) -> list[Document]:
    """The complete results of the loads, with histograms and seconds."""
    return [
        Document(
            "load",
            str(sampler.image.cell),
            app_run.app.name,
            result.to_json(),
            sampler.version,
            sampler.run,
            time.time(),
        )
        for result in app_run.loads
    ]


def _load_samples(sampler: Sampler, app_run: AppRun, result: Result, duration: float | None) -> list[Sample]:
    app, load = app_run.app.name, app_run.app.loads[result.scenario]
    how = {
        "duration": f"{_seconds(app_run, result, duration):g}", "users": load.users, "rate": f"{load.rate:g}",
        "generator": tool_version(load.tool),
    }  # fmt: skip
    prefix = f"app.{app}.{re.sub(r'[^A-Za-z0-9_+/-]', '_', result.scenario)}"
    samples = []
    if result.mode == "closed loop":  # at a constant rate it is the requested rate
        throughput = Metric(f"{prefix}.throughput", "requests/s", Better.HIGHER)
        samples.append(sampler.take(throughput, result.throughput, app, procedure=how))
    for percent in PERCENTILES:
        latency = Metric(f"{prefix}.p{percent:g}", "us")
        samples.append(sampler.take(latency, result.percentile(percent), app, procedure=how))
    return samples
