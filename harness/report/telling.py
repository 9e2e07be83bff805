"""What every report is told of records: they themselves, and what the statistics say of them."""

from collections.abc import Sequence

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.drift_since import since
from harness.analysis.regression.notes import notes
from harness.analysis.regression.series import numbers
from harness.analysis.regression.triage import judged as seen_in
from harness.metrics.history.records import Judged
from harness.metrics.records import Document, Sample
from harness.report.asides import asides
from harness.report.model.data import ReportData


def telling(
    samples: Sequence[Sample], judged: Sequence[Judged], documents: Sequence[Document], graph: Graph
) -> ReportData:
    """The records with their findings, notes and asides; `graph` is how commits follow each other."""
    measured = numbers(samples, graph)
    said = [note.text for note in notes(measured)]
    seen = seen_in(measured, documents)
    beside = asides(seen.nights, since(measured))
    return ReportData(samples, judged, documents, seen.findings, said, graph, beside, measured)
