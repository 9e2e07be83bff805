"""Plots series with their findings, to a file beside a failed item's evidence."""

from collections.abc import Sequence
from pathlib import Path

from harness.analysis.regression.finding import Finding
from harness.analysis.regression.series import series_of
from harness.metrics.records import Sample

MOST_PLOTS = 6


def draw(samples: Sequence[Sample], found: Sequence[Finding], folder: Path) -> Path:
    """Draw the series of the findings with their steps; returns the file's path."""
    # Half a second to import, which nobody pays who plots nothing.
    from matplotlib.figure import Figure

    names = {one.metric.name for one in found[:MOST_PLOTS]}
    series = [one for one in series_of(samples) if one.samples[0].metric.name in names]
    figure = Figure(figsize=(9, 3 * len(series)), layout="constrained")
    for axes, series_ in zip(figure.subplots(len(series), squeeze=False)[:, 0], series, strict=True):
        metric = series_.samples[0].metric
        axes.plot(range(len(series_.values)), series_.values, marker=".")
        for finding in found:
            if finding.metric == metric and finding.after in series_.versions:
                axes.axvline(series_.versions.index(finding.after) - 0.5, color="tab:red", linestyle="--")
        labels = [version.described or version.commit[:12] for version in series_.versions]
        axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", fontsize="small")
        axes.set(title=metric.name, ylabel=metric.unit)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found[0].cell.replace(':', '-')}-{found[0].metric.name.replace('/', '_')}.svg"
    figure.savefig(path, metadata={"Date": None})
    return path
