"""Tells which metrics are parts of a whole: boot phases, sections, libraries."""

STACKS = {
    "boot.instructions": "Boot phases, instructions",
    "boot.wall": "Boot phases, time",
    "size.section": "Kernel by section",
    "size.archive": "Kernel by library",
}
"""What the metrics one level below these add up to."""


def whole(metric: str) -> str | None:
    """The whole metric of which this is a part; None if it is no part."""
    return next((stem for stem in STACKS if metric.startswith(f"{stem}.")), None)
