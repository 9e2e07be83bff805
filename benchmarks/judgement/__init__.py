"""How often the judgements err and what they find, beside Apache Otava.

Writes docs/results/judgement.md and its plots.
"""

from pathlib import Path

from benchmarks.judgement import bounds, comparing, detecting, otava_series, page, series
from benchmarks.judgement.beside_otava import points

RUNS = 1000


def judgement(folder: Path, jobs: int, count: int = RUNS) -> None:
    """Simulate, compare with Otava in an environment of its own in `folder`, and write the page.

    What was simulated is kept in `folder`, where a run that was interrupted goes on; ours only until the code that
    judges is changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = {nights: detecting.outcomes(count, jobs, nights, folder) for nights in (True, False)}
    otava = {nights: points(folder, jobs, count, nights) for nights in (True, False)}
    own = otava_series.said(folder)
    bounded = {kind: bounds.bound(kind, 4 * count) for kind in series.ALL}
    compared = {
        (metrics, shift, nights): comparing.comparisons(count, jobs, metrics, shift, nights)
        for metrics, shift, nights in (
            (5, 0.0, False),
            (5, 0.0, True),
            (1, comparing.SHIFT, False),
            (5, comparing.SHIFT, False),
        )
    }
    page.write(outcomes, otava, bounded, compared, own)
