"""How often the judgements err and what they find, beside Apache Otava; writes docs/judgement.md and its plots."""

from pathlib import Path

from benchmarks.judgement import bounds, comparing, detecting, page, series
from benchmarks.judgement.beside_otava import points

RUNS = 1000


def judgement(folder: Path, jobs: int, count: int = RUNS) -> None:
    """Simulate, compare with Otava in an environment of its own in `folder`, and write the page.

    Otava's answers are kept in `folder`, where a second run finds them; ours are made anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    otava = points(folder, jobs, count)
    outcomes = detecting.outcomes(count, jobs)
    bounded = {kind: bounds.bound(kind, 4 * count) for kind in series.ALL}
    compared = {
        (metrics, shift): comparing.comparisons(count, jobs, metrics, shift)
        for metrics, shift in ((5, 0.0), (1, comparing.SHIFT), (5, comparing.SHIFT))
    }
    page.write(outcomes, otava, bounded, compared)
