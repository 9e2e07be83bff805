"""Chooses which failure of a test is looked for: a test can fail for several reasons, and only one is the bad
end's."""

from collections import Counter
from collections.abc import Sequence

UNKNOWN_FAILURE = ""
"""A failure in a journal from before failures were told apart: it may be the target or not."""

MASKING_BOOTS = 8
"""A build in which another failure ended each of so many boots says nothing about the target."""


def find_target_failure(good: Sequence[str | None], bad: Sequence[str | None]) -> str:
    """The failure that separates the ends best, given the result of each boot (None: passed).

    It is the failure of the bad end whose share of boots exceeds the good end's most; if the bad end never failed,
    one of the good end's. `UNKNOWN_FAILURE`, which matches any, if no failure of the ends is known.
    """
    at_bad, at_good = (Counter(one for one in end if one not in (None, UNKNOWN_FAILURE)) for end in (bad, good))
    either = at_bad or at_good
    share = {one: at_bad[one] / max(1, len(bad)) - at_good[one] / max(1, len(good)) for one in either}
    # ties: the commoner failure, then the first by name, so that the order of boots has no effect
    return min(either, key=lambda one: (-share[one], -either[one], one), default=UNKNOWN_FAILURE)


def is_informative(one: str | None, wanted: str) -> bool:
    """Whether a boot with this result says anything about the target failure."""
    return one is None or wanted in (one, UNKNOWN_FAILURE)


def masking_failure(seen: Sequence[str | None], wanted: str) -> str:
    """Why a build whose boots had these results says nothing about the target; empty if it does."""
    if len(seen) < MASKING_BOOTS or any(one == UNKNOWN_FAILURE or is_informative(one, wanted) for one in seen):
        return ""
    ((most, _),) = Counter(one for one in seen if one is not None).most_common(1)
    return f"it fails by another cause each of {len(seen)} times: {most}"
