"""Real comparisons of a kernel with itself: how often they raise an alarm, and what they could have seen."""

from random import Random
from statistics import median

from harness.analysis.ab import sides
from harness.runner.session import Session

COMPARISONS = {"boot.wall": 50, "app.nginx.most.throughput": 8}
"""What is compared, and how many comparisons of it there are."""
PAIRS = 16
"""At most, of each comparison: the fewest in which the default level can be reached."""
SECONDS = 1.0


def equals(session: Session, name: str) -> None:
    """Compare the cell with itself. Prints a line for each comparison, and what they came to."""
    cell = session.cell(name)
    dice = Random(20261121)
    for metric, count in COMPARISONS.items():
        alarms, visible, pairs = 0, [], 0
        a, b = (sides.build(session, cell, str(cell), [metric], SECONDS, "equals") for _ in range(2))
        for number in range(count):
            found = sides.compare(a, b, [metric], PAIRS, 0.0, lambda measured: None, dice)[metric]
            alarms += found.decision == "changed"
            pairs += found.pairs
            visible += [found.smallest] if found.smallest is not None else []
            change = float("nan") if found.change is None else found.change
            print(f"{metric} {number + 1}: {found.decision}, {change:+.2%}, p {found.probability:.2g}", flush=True)
        print(f"{metric}: {alarms} alarms in {count} comparisons of {pairs} pairs in all", flush=True)
        if visible:
            print(f"{metric}: the smallest change that one could have seen was {median(visible):.1%} (median)")
