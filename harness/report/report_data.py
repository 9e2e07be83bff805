"""Makes the data that every report needs: the records, and what the statistics find in them."""

from collections.abc import Sequence

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.drift_since import since
from harness.analysis.regression.notes import notes
from harness.analysis.regression.series import numbers
from harness.analysis.regression.triage import judged as seen_in
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample
from harness.report.model.data import ReportData
from harness.report.outlier_lines import outlier_lines, suspected_lines
from harness.report.reuse_lines import reuse_lines
from harness.report.slower_lines import slower_lines


def make_report_data(
    samples: Sequence[Sample], judged: Sequence[VerdictRecord], documents: Sequence[Document], graph: Graph
) -> ReportData:
    """The records with their findings, notes and lines about outliers; `graph` is the graph of commits."""
    measured = numbers(samples, graph)
    said = [note.text for note in notes(measured)]
    seen = seen_in(measured, documents)
    beside = outlier_lines(seen.nights, since(measured))
    suspected = suspected_lines(seen.nights)
    alarms, reused = reuse_lines(documents)
    asides = [*reused, *slower_lines(judged), *beside]
    return ReportData(
        samples, judged, documents, seen.findings, [*alarms, *said], graph, asides, measured, suspected
    )
