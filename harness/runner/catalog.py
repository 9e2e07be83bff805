"""The in-guest tests of a kernel and their requirements: data in catalog/<kernel>.toml, and the image's
manifest."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from harness.core import project
from harness.core.machine import Image
from harness.core.variants import with_second_disk
from harness.runner.base import Program

FOLDER = project.SHIPPED / "catalog"


def programs(
    image: Image, accelerator: str, durations: Mapping[str, float], can_have: Callable[[str], bool]
) -> list[Program]:
    """Every test of the image, by name, with limits for the accelerator.

    `can_have` says whether the cell can have a variant: a test that needs another is left out, or runs without it
    if its row says `or_without`. `durations` are the longest recorded seconds of each test on this cell: a test
    gets at least its catalog's limit, and more if it is known to take long.
    """
    data, common = _data(image.cell.kernel), _data("common")
    rows = dict(_family_rows(data))
    if image.manifest and "manifest" in data:
        listed = image.manifest.read_text(errors="replace")
        rows |= _manifest_rows(listed, data["manifest"]["test"])
        known = _manifest_rows(listed, "/")
        for name, row in data.get("program", {}).items():
            if name in known:
                rows[name] = {**row, "command": with_second_disk(row["command"], len(image.disks))}
    overrides = _both_names(data.get("test", {}))
    scale = common["scale"][accelerator]
    defaults = common["defaults"] | {"denials": data.get("denials", []), "skips": data.get("skips", [])}
    whole = {name: defaults | row | overrides.get(name, {}) for name, row in sorted(rows.items())}
    sleeping = _both_names(dict.fromkeys(data.get("sleeping", [])))
    return [
        _program(name, row | {"sleeps": name in sleeping}, scale, durations.get(name, 0.0), fits)
        for name, row in whole.items()
        if (fits := "variant" not in row or can_have(row["variant"])) or row.get("or_without")
    ]


def _both_names(rows: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of tests, by either name: a test that is an executable has no `.so` at its end, and is the
    same test."""
    return {name.removesuffix(".so"): row for name, row in rows.items()} | dict(rows)


def known(kernel: str) -> list[str]:
    """The tests that the catalog names; an image may have others."""
    data = _data(kernel)
    return sorted({*(name for name, _ in _family_rows(data)), *data.get("program", {}), *data.get("test", {})})


def benchmarks(kernel: str) -> Mapping[str, Any]:
    """The rows of programs that print numbers, by name."""
    rows: Mapping[str, Any] = _data(kernel).get("benchmark", {})
    return rows


def scale(accelerator: str) -> float:
    """The factor of limits on the accelerator, compared with hardware."""
    return float(_data("common")["scale"][accelerator])


def typical_seconds(kernel: str, accelerator: str) -> dict[str, float]:
    """Seconds that the kernel's longer tests take on the accelerator, where nothing was recorded yet: measured
    under TCG and scaled. A kernel without such rows has none."""
    factor = scale(accelerator) / scale("tcg")
    return {name: seconds * factor for name, seconds in _both_names(_data(kernel).get("seconds", {})).items()}


def _program(name: str, row: Mapping[str, Any], scale: float, longest: float, fits: bool) -> Program:
    return Program(
        name=name,
        command=row["command"],
        limit=max(float(row["limit"]) * scale, 5 * longest),
        cpus=row["cpus"],
        memory=row["memory"],
        network=row.get("network", False),
        disk=row.get("disk", False),
        variant=row.get("variant", "") if fits else "",
        ends_by=row.get("ends_by", ""),
        sleeps=row["sleeps"],
        denials=tuple(row["denials"]),
        skips=tuple(row["skips"]),
        nested=tuple(row.get("nested", ())),
        skip_statuses=tuple(row.get("skipped_status", ())),
    )


def _family_rows(data: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    for family, row in data.get("family", {}).items():
        for member in row["members"]:
            yield f"{family}-{member}", {**row, "command": row["command"].format(member=member)}


def _manifest_rows(manifest: str, test: str) -> dict[str, dict[str, Any]]:
    """A row for each guest path that is a test. Source: OSv's manifests, one `guest path: host path` per line."""
    paths = (line.split(":", 1)[0].strip() for line in manifest.splitlines() if ":" in line)
    return {path.rsplit("/", 1)[1]: {"command": path} for path in paths if re.match(test, path)}


@cache
def _data(name: str) -> dict[str, Any]:
    return project.read(FOLDER / f"{name}.toml")
