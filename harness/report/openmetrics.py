"""The report as OpenMetrics text, to be scraped: the latest number of every series, and counts of verdicts.

Source: github.com/OpenObservability/OpenMetrics, specification/OpenMetrics.md (1.0).
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from harness.metrics.records import Metric, Version
from harness.report.model.data import ReportData, safe_text
from harness.report.model.formatting import version_name
from harness.report.model.outcomes import BAD, by_test, counts, standing
from harness.report.model.series import Series, series_of
from harness.report.model.spans import spans_of
from harness.report.model.timeline import Timeline

BASE_UNITS = {
    "B": ("bytes", 1.0), "KiB": ("bytes", 2.0**10), "MiB": ("bytes", 2.0**20), "GiB": ("bytes", 2.0**30),
    "s": ("seconds", 1.0), "ms": ("seconds", 1e-3), "us": ("seconds", 1e-6), "µs": ("seconds", 1e-6),
    "ns": ("seconds", 1e-9),
}  # fmt: skip
"""Factors to Prometheus's base units; other units are kept, as words."""

FORBIDDEN = re.compile(r"[^a-zA-Z0-9_]+")

Labels = Mapping[str, str]
Family = tuple[str, str, str]
"""Name, unit and help of a family of gauges."""
Families = dict[str, tuple[Family, dict[str, float]]]
"""The family and its values by their labels as text, by name."""

LATEST: Family = ("osv_latest_version", "", "The latest version known of a cell; always 1.")
VERDICTS: Family = ("osv_verdicts", "", "Tests by their latest outcome.")
UNEXPECTED: Family = ("osv_unexpected_verdicts", "", "Tests whose latest outcome was not expected.")
JUDGED: Family = ("osv_judged_timestamp_seconds", "seconds", "When a test of the suite was last judged.")
FINDINGS: Family = ("osv_findings", "", "Changes that the statistics stand behind.")


def openmetrics(report_data: ReportData) -> str:
    """The exposition, which ends with `# EOF`. Samples have no timestamps: the version shows how old they are."""
    report_data = report_data.safe
    timeline = Timeline(report_data)
    families: Families = {}
    for one in series_of(report_data, timeline):
        family, factor = _family(one.metric)
        _put(families, family, _named(one), one.points[-1].value * factor)
    latest: dict[str, tuple[int, Version]] = {}
    for row in spans_of(report_data.rows):
        number = timeline.number(row.cell, row.version) or 0
        if row.cell not in latest or number > latest[row.cell][0]:
            latest[row.cell] = number, row.version
    for cell, (_, version) in latest.items():
        labels = {"cell": cell, "commit": version.commit, "version": version_name(version)}
        _put(families, LATEST, labels, 1)
    _put_verdicts(families, report_data)
    lines = [line for name in sorted(families) for line in _lines(*families[name])]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _put(families: Families, family: Family, labels: Labels, value: float) -> None:
    """Add a value. Two metrics can get the same name: they share a family, and their label `metric` distinguishes
    them."""
    families.setdefault(family[0], (family, {}))[1][_labels(labels)] = value


def _family(metric: Metric) -> tuple[Family, float]:
    """The family of a metric, and the factor for its numbers."""
    unit, factor = BASE_UNITS.get(metric.unit, (metric.unit.replace("/", " per "), 1.0))
    unit = FORBIDDEN.sub("_", unit).strip("_").lower()
    name = FORBIDDEN.sub("_", f"osv_metric_{metric.name}").strip("_")
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    return (name, unit, f"The latest measurement; {metric.better} is better."), factor


def _named(series: Series) -> Labels:
    where = series.environment
    labels = {
        "metric": series.metric.name, "cell": series.cell, "subject": series.subject,
        "accelerator": where.accelerator, "emulator": where.emulator,
    }  # fmt: skip
    own = where.fingerprint(series.metric, series.builder, series.procedure)
    maker = {"builder": series.builder} if series.metric.exact else {"host": where.host}
    return labels | maker | {"fingerprint": own}


def _put_verdicts(families: Families, report_data: ReportData) -> None:
    by_suite = defaultdict(list)
    for test in by_test(report_data):
        by_suite[test.cell, test.suite].append(test)
    for (cell, suite), tests in by_suite.items():
        about = {"cell": cell, "suite": suite}
        for count in counts(tests):
            _put(families, VERDICTS, about | {"outcome": count.words, "standing": count.standing}, count.number)
        _put(families, UNEXPECTED, about, sum(standing(test.latest) == BAD for test in tests))
        _put(families, JUDGED, about, max(test.latest.taken for test in tests))
    for way in ("worse", "better"):
        number = sum(finding.worse is (way == "worse") for finding in report_data.findings)
        _put(families, FINDINGS, {"way": way}, number)


def _lines(family: Family, values: Mapping[str, float]) -> Iterator[str]:
    name, unit, meaning = family
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {_escaped(meaning)}"
    for labels, value in values.items():
        yield f"{name}{labels} {_number(value)}"


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{_escaped(safe_text(value))}"' for name, value in labels.items())
    return f"{{{inside}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))
