"""HDR histograms of microseconds: three significant digits, from 1 µs to an hour."""

import math
from typing import TYPE_CHECKING, Any

from harness.core.errors import HostError

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

LONGEST = 3_600_000_000
NO_LOADS = "Install it; a lab of aarch64 has none, and no load is put on anything there."


def empty() -> "HdrHistogram":
    """A new histogram."""
    histogram: HdrHistogram = _kind()(1, LONGEST, 3)
    return histogram


def record(histogram: "HdrHistogram", microseconds: int, count: int = 1) -> None:
    """Add `count` latencies; one outside the range is recorded at the range's end."""
    histogram.record_value(min(max(microseconds, 1), LONGEST), count)


def encoded(histogram: "HdrHistogram") -> str:
    """The histogram as text: HDR's compressed form in base64, about 100 bytes to a few kilobytes."""
    return str(histogram.encode().decode())


def decoded(text: str) -> "HdrHistogram":
    """Read what `encoded` wrote."""
    histogram: HdrHistogram = _kind().decode(text)
    return histogram


def percentile(histogram: "HdrHistogram", p: float) -> float:
    """The microseconds that `p` percent do not exceed; not a number for an empty histogram."""
    return float(histogram.get_value_at_percentile(p)) if histogram.get_total_count() else math.nan


def _kind() -> Any:
    """The class, imported when needed: a lab may not have it. Raises `HostError`."""
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise HostError("The Python package hdrhistogram is missing, which loads need.", NO_LOADS) from error
    return HdrHistogram
