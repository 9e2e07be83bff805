"""Numbers as people read them: units with prefixes, changes, times, commits."""

import math
from dataclasses import dataclass
from time import gmtime, strftime

from harness.metrics.records import Version

BINARY = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40))
SECONDS = (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))
FAMILIES = {
    **{name: (BINARY, size) for name, size in BINARY},
    **{name: (SECONDS, size) for name, size in SECONDS},
    "us": (SECONDS, 1e-6),
}
PREFIXES = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
SHORT_COMMIT = 12


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric's numbers are shown: divided by `divisor`, and followed by `unit`."""

    divisor: float
    unit: str

    def shown(self, value: float) -> str:
        """The number with four digits that count, and its unit."""
        number = value / self.divisor
        digits = f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.4g}"
        return f"{digits} {self.unit}".rstrip()


def scale(unit: str, greatest: float) -> Scale:
    """The scale for numbers in the unit, of which the greatest is given."""
    if unit in FAMILIES:
        steps, base = FAMILIES[unit]
        name, size = _step(steps, abs(greatest) * base)
        return Scale(size / base, name)
    # Below ten thousand a number of things is read as it is.
    prefix, size = _step(PREFIXES, abs(greatest)) if abs(greatest) >= 10_000 else PREFIXES[0]
    return Scale(size, f"{prefix} {unit}".strip() if prefix else unit)


def _step(steps: tuple[tuple[str, float], ...], greatest: float) -> tuple[str, float]:
    return next((step for step in reversed(steps) if greatest >= step[1]), steps[0])


def shown(value: float, unit: str) -> str:
    """One number with its unit: `6.4 MiB`."""
    return scale(unit, value if math.isfinite(value) else 0.0).shown(value)


def percent(change: float) -> str:
    """A relative change with its sign: `+2.1%`."""
    return f"{change * 100:+.3g}%"


def moment(seconds: float) -> str:
    """A time since 1970 as a day and a minute, UTC; nothing if it is no time that a calendar has."""
    try:
        return strftime("%Y-%m-%d %H:%M", gmtime(seconds)) if seconds > 0 else ""
    except (OverflowError, ValueError, OSError):
        return ""


def version_name(version: Version) -> str:
    """What people call the version."""
    return version.described or version.commit[:SHORT_COMMIT] or "unknown"
