"""The last night for other programs: as JSON, as an Atom feed (RFC 4287), and as a badge for a README."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import gmtime, strftime
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr

from harness.metrics.records import Version
from harness.report.model.formatting import version_name
from harness.report.morning.changes import MetricChange, Step
from harness.report.morning.report import Morning
from harness.report.morning.tests import Group
from harness.report.morning.text import cells_words, change_words, number

MOST_ENTRIES = 60
COLOURS = {"bad": "#a3260b", "expected": "#7a5a00", "good": "#00614a"}
LETTER = 6.6
"""The average width of a badge's letter, in pixels."""


def latest(morning: Morning) -> str:
    """The facts of the last night as JSON; `schema` increases when a field changes its meaning."""
    tests = morning.tests
    return json.dumps(
        {
            "schema": 1,
            "night": _day(morning, morning.nights.last),
            "headline": morning.headline,
            "sign": morning.sign,
            "version": _version(morning.version),
            "previous": _version(morning.previous),
            "as_expected": tests.good, "verdicts": tests.tonight, "cells": morning.ran,
            "new": [_group(one, morning) for one in tests.new],
            "broken_cells": {one.cell: one.reason for one in tests.broken},
            "missing": [{"cell": one.cell, "nights": one.nights, "never": one.never} for one in morning.missing],
            "not_run": [{"test": test, "cells": list(cells)} for test, cells in tests.unrun],
            "faults": [
                {"test": one.test, "cell": one.cell, "reason": one.reason} for one in tests.faults
            ],
            "flaky": [
                {
                    **_group(one, morning),
                    "rate": one.rate, "interval": list(one.interval), "moved": one.rate_changed,
                }
                for one in tests.flaky
            ],
            "still_failing": [_group(one, morning) for one in tests.still],
            "fixed": [_group(one, morning) for one in tests.fixed],
            "to_edit": [
                {"test": one.stale.test, "cells": list(one.stale.cells), "place": str(one.place or "")}
                for one in morning.edits
            ],
            "new_steps": [_step(one) for one in morning.new_steps],
            "standing_steps": [_step(one) for one in morning.standing_steps],
        },
        indent=1,
    ) + "\n"  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a feed. `key` makes its id, the same every night; `where` is its address in the page."""

    key: str
    title: str
    text: str
    when: float
    where: str


def feed(morning: Morning, page: str) -> str:
    """What broke, was fixed or changed, the newest first; each is one entry as long as it is reported."""
    entries = sorted(_entries(morning), key=lambda one: (-one.when, one.key))[:MOST_ENTRIES]
    updated = max([one.when for one in entries] + [_when(morning, morning.nights.last)])
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape('Nights of OSv')}</title>",
        f"<id>{_id('feed')}</id>",
        f"<updated>{_stamp(updated)}</updated>",
        "<author><name>osv-harness</name></author>",
        f"<link rel=\"alternate\" href={quoteattr(quote(page))}/>",
        '<link rel="self" href="feed.atom"/>',
    ]
    for entry in entries:
        lines += [
            "<entry>",
            f"<title>{escape(entry.title)}</title>",
            f"<id>{_id(entry.key)}</id>",
            f"<updated>{_stamp(entry.when)}</updated>",
            f"<link href={quoteattr(quote(page) + '#' + entry.where)}/>",
            f"<summary>{escape(entry.text)}</summary>",
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>"]) + "\n"


def badge(morning: Morning) -> str:
    """The conclusion as a picture with two words."""
    left, right = "OSv", morning.headline if morning.nights.last >= 0 else "no night yet"
    widths = [round(len(text) * LETTER) + 14 for text in (left, right)]
    title = escape(f"{left}: {right}")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths)}" height="20" role="img" aria-label={quoteattr(f"{left}: {right}")}>
<title>{title}</title>
<rect width="{widths[0]}" height="20" fill="#444"/>
<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{COLOURS[morning.sign]}"/>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">
<text x="{widths[0] / 2:g}" y="14">{escape(left)}</text>
<text x="{widths[0] + widths[1] / 2:g}" y="14">{escape(right)}</text>
</g>
</svg>
"""  # noqa: E501


def _entries(morning: Morning) -> Iterator[Entry]:
    tests = morning.tests
    kinds: Sequence[tuple[str, Sequence[Group]]] = (
        ("failed", [*tests.new, *tests.still]), ("flaky", tests.flaky), ("fixed", tests.fixed),
    )  # fmt: skip
    for kind, groups in kinds:
        for group in groups:
            words = {"failed": group.outcome.replace("_", " "), "flaky": "is flaky", "fixed": "is fixed"}[kind]
            cells = [cell.cell for cell in group.cells]
            key = f"{kind}|{group.test}|{cells[0].partition(':')[0]}|{_day(morning, group.began)}"
            where = f"test/{quote(group.test, safe='')}"
            title = f"{group.test} {words} on {number(len(cells), 'cell')}"
            yield Entry(key, title, f"{cells_words(cells)}: {group.reason}", _when(morning, group.began), where)
    for one in tests.broken:
        day, where = _day(morning, one.began), f"cell/{quote(one.cell, safe='')}"
        when, title = _when(morning, one.began), f"{one.cell} boots or runs next to nothing"
        yield Entry(f"broken|{one.cell}|{day}", title, one.reason, when, where)
    for step in morning.changes.steps:
        if step.wholes:
            first = step.wholes[0]
            more = f" and {len(step.wholes) - 1} more" if len(step.wholes) > 1 else ""
            title = f"{_words(first)}{more}, by {version_name(step.after)}"
            text = "; ".join(map(_words, step.wholes[:20]))
            when = step.after.committed or _when(morning, morning.firsts.get(step.after.commit, 0))
            where = f"compare/{quote(step.before.commit, safe='')}..{quote(step.after.commit, safe='')}"
            yield Entry(f"step|{step.kernel}|{step.after.commit}", title, text, when, where)


def _words(one: MetricChange) -> str:
    change = change_words(one.change, one.low, one.high)
    return f"{change} {one.metric.name} on {len(one.cells)} of {number(one.of, 'cell')}"


def _group(group: Group, morning: Morning) -> dict[str, Any]:
    since = group.since if group.since and group.since[0].commit != group.since[1].commit else None
    return {
        "test": group.test, "outcome": group.outcome, "reason": group.reason, "kind": str(group.kind),
        "cells": [cell.cell for cell in group.cells], "began": _day(morning, group.began),
        "bad": group.bad, "runs": group.runs,
        "good": _version(since[0]) if since else None, "first_bad": _version(since[1]) if since else None,
    }  # fmt: skip


def _step(step: Step) -> dict[str, Any]:
    return {
        "kernel": step.kernel, "before": _version(step.before), "after": _version(step.after),
        "worse": step.worse,
        "metrics": [
            {
                "metric": one.metric.name, "subject": one.subject, "change": one.change, "worse": one.worse,
                "cells": list(one.cells), "of": one.of, "exact": one.exact == len(one.cells),
            }
            for one in step.wholes
        ],
    }  # fmt: skip


def _version(version: Version | None) -> dict[str, str] | None:
    return {"commit": version.commit, "described": version.described} if version else None


def _when(morning: Morning, night: int) -> float:
    every = morning.nights.every
    return every[night].began if 0 <= night < len(every) else 0.0


def _day(morning: Morning, night: int) -> str:
    when = _when(morning, night)
    return _stamp(when)[:10] if when else ""


def _stamp(when: float) -> str:
    try:
        return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(when))
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"


def _id(key: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'osv-harness|{key}')}"
