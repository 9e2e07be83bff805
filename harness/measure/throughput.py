"""What an app's run under load came to, as samples."""

import re
import time

from harness.apps.run import AppRun
from harness.load import Result
from harness.measure import Better, Document, Metric, Sample
from harness.measure.taking import Taker

PERCENTILES = (50.0, 99.0)


def samples_of(taker: Taker, done: AppRun) -> list[Sample]:
    """Throughput (requests/s) and latency (microseconds) of each load, time to the first answer (s), memory of the
    hypervisor's process (B). A load that its generator limited says nothing of the kernel, and gives none."""
    name = done.app.name
    samples = []
    if done.ready_seconds:
        samples.append(taker.take(Metric(f"app.{name}.ready", "s"), done.ready_seconds, name))
    if done.memory.resident:
        samples.append(taker.take(Metric("memory.resident", "B"), done.memory.resident, name))
        samples.append(taker.take(Metric("memory.private", "B"), done.memory.private, name))
    for result in done.loads:
        if result.requests and not result.generator.limited and not result.error:
            samples += _of_load(taker, name, result)
    return samples


def documents_of(taker: Taker, done: AppRun) -> list[Document]:
    """The loads' whole results, with their histograms and seconds."""
    return [
        Document(
            "load", str(taker.image.cell), done.app.name, result.to_json(), taker.version, taker.run, time.time()
        )
        for result in done.loads
    ]


def _of_load(taker: Taker, app: str, result: Result) -> list[Sample]:
    prefix = f"app.{app}.{re.sub(r'[^A-Za-z0-9_+/-]', '_', result.scenario)}"
    samples = []
    if result.mode == "closed loop":  # at a constant rate it is what was asked for
        throughput = Metric(f"{prefix}.throughput", "requests/s", Better.HIGHER)
        samples.append(taker.take(throughput, result.throughput, app))
    for percent in PERCENTILES:
        samples.append(taker.take(Metric(f"{prefix}.p{percent:g}", "us"), result.percentile(percent), app))
    return samples
