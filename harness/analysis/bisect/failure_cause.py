"""Which of a test's failures is looked for: it can fail for several reasons, and only one is the bad end's."""

from collections import Counter
from collections.abc import Sequence

UNKNOWN_FAILURE = ""
"""A failure of a journal written before failures were told apart: it may be the one that is looked for, or not."""

MASKING_BOOTS = 8
"""A build that another failure ended in each of so many boots says nothing of the one that is looked for."""


def find_target_failure(good: Sequence[str | None], bad: Sequence[str | None]) -> str:
    """The failure that tells the ends apart best, from what became of each boot there (None: it passed).

    One of the bad end's, by how much more of its boots than of the good end's it ended; of a bad end that never
    failed, one of the good end's. `UNKNOWN_FAILURE`, which means any, where no failure of the ends is told.
    """
    at_bad, at_good = (Counter(one for one in end if one not in (None, UNKNOWN_FAILURE)) for end in (bad, good))
    either = at_bad or at_good
    share = {one: at_bad[one] / max(1, len(bad)) - at_good[one] / max(1, len(good)) for one in either}
    # of equals the commoner, and then the first by name, so that the order of boots decides nothing
    return min(either, key=lambda one: (-share[one], -either[one], one), default=UNKNOWN_FAILURE)


def is_informative(one: str | None, wanted: str) -> bool:
    """Whether a boot that ended so says anything of the failure that is looked for."""
    return one is None or wanted in (one, UNKNOWN_FAILURE)


def masking_failure(seen: Sequence[str | None], wanted: str) -> str:
    """The other failure that hides it in a build whose boots ended so; empty where they tell something."""
    if len(seen) < MASKING_BOOTS or any(one == UNKNOWN_FAILURE or is_informative(one, wanted) for one in seen):
        return ""
    ((most, _),) = Counter(one for one in seen if one is not None).most_common(1)
    return f"it fails by another cause each of {len(seen)} times: {most}"
