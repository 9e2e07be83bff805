"""What every report is told of records: they themselves, and what the statistics say of them."""

from collections.abc import Sequence

from harness.history.records import Judged
from harness.measure import Document, Sample
from harness.regress.ancestry import Graph
from harness.regress.notes import notes
from harness.regress.series import numbers
from harness.regress.since import since
from harness.regress.standing import judged as seen_in
from harness.report.asides import asides
from harness.report.page.told import Told


def telling(
    samples: Sequence[Sample], judged: Sequence[Judged], documents: Sequence[Document], graph: Graph
) -> Told:
    """The records with their findings, notes and asides; `graph` is how commits follow each other."""
    measured = numbers(samples, graph)
    said = [note.text for note in notes(measured)]
    seen = seen_in(measured, documents)
    beside = asides(seen.nights, since(measured))
    return Told(samples, judged, documents, seen.findings, said, graph, beside)
