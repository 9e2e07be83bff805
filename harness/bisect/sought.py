"""Which of a test's failures is looked for: it can fail for several reasons, and only one is the bad end's."""

from collections import Counter
from collections.abc import Sequence

HIDES = 8
"""A build that another failure ended in each of so many boots says nothing of the one that is looked for."""


def sought(good: Sequence[str | None], bad: Sequence[str | None]) -> str:
    """The failure that tells the ends apart best, from what became of each boot there (None: it passed).

    One of the bad end's, by how much more of its boots than of the good end's it ended; of a bad end that never
    failed, one of the good end's.
    """
    at_bad, at_good = (Counter(one for one in end if one is not None) for end in (bad, good))
    either = at_bad or at_good
    share = {one: at_bad[one] / max(1, len(bad)) - at_good[one] / max(1, len(good)) for one in either}
    # of equals the commoner, and then the first by name, so that the order of boots decides nothing
    return min(either, key=lambda one: (-share[one], -either[one], one), default="")


def hidden_by(seen: Sequence[str | None], wanted: str) -> str:
    """The other failure that hides it in a build whose boots ended so; empty where they tell something."""
    if len(seen) < HIDES or any(one is None or one == wanted for one in seen):
        return ""
    ((most, _),) = Counter(one for one in seen if one is not None).most_common(1)
    return f"it fails by another cause each of {len(seen)} times: {most or 'unknown'}"
