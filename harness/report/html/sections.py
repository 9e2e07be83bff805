"""Groups the figures of the page into sections, orders them, and describes each one in words."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.model.figures import Figure, Kind, anchor
from harness.report.model.formatting import percent

TITLES = {"boot": "Boot", "memory": "Memory", "size": "Size"}
GUEST = {"guest": "Benchmarks in the guest"}
MOST_MARKS = 3
"""Findings of one figure that are listed in words."""
MOST_FIGURES = 1000
"""Figures of one page; those with findings are kept first."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure, and a sentence for each of its first lines."""

    figure: Figure
    words: str


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that belong together."""

    id: str
    title: str
    figures: Sequence[Shown]


def sections(figures: Sequence[Figure]) -> tuple[list[Section], int]:
    """The sections, with the kernel's own metrics first; and how many figures were left out."""
    kept = sorted(figures, key=lambda figure: not figure.marks)[:MOST_FIGURES]
    ids = {figure.id for figure in kept}
    groups: dict[str, list[Figure]] = defaultdict(list)
    for figure in figures:
        if figure.id in ids:
            groups[figure.group].append(figure)
    apps = {name: f"App {name[4:]}" for name in sorted(groups) if name.startswith("app.")}
    titles = TITLES | apps | GUEST
    titles |= {name: name.capitalize() for name in sorted(groups) if name not in titles}
    made = [
        Section(
            anchor("section", name), title, [Shown(figure, in_words(figure)) for figure in _ordered(groups[name])]
        )
        for name, title in titles.items()
        if name in groups
    ]
    return made, len(figures) - len(ids)


def heads(section: Section) -> list[dict[str, Any]]:
    """What the page says of each figure before its numbers are loaded. `marks` are the first of `marked`
    findings."""
    return [
        {
            "id": figure.id, "kind": figure.kind, "title": figure.title, "about": figure.about,
            "words": words, "better": figure.better, "note": figure.note, "metric": figure.metric,
            "cells": figure.cells, "marked": len(figure.marks),
            "marks": [
                {"line": figure.lines[mark.line].name, "words": mark.words, "worse": mark.worse}
                for mark in figure.marks[:MOST_MARKS]
            ],
        }
        for figure, words in ((shown.figure, shown.words) for shown in section.figures)
    ]  # fmt: skip


def _ordered(figures: Sequence[Figure]) -> list[Figure]:
    """Order the figures: those with findings first, then stacked parts and curves, which say more than the
    trend of one number."""
    return sorted(figures, key=lambda figure: (not figure.marks, figure.kind is Kind.TREND))


def in_words(figure: Figure) -> str:
    """Describe the first lines of a figure for people who can't see it: the latest value of each, and how it
    has changed."""
    sentences = [_line(figure, number) for number in range(min(3, len(figure.lines)))]
    if len(figure.lines) > len(sentences):
        sentences.append(f"and {len(figure.lines) - len(sentences)} more")
    return "; ".join(filter(None, sentences))


def _line(figure: Figure, number: int) -> str:
    line, shown = figure.lines[number], figure.scale
    if not line.y:
        return ""
    first, last = line.y[0], line.y[-1]
    if figure.kind in (Kind.CURVE, Kind.SECONDS):
        return f"{line.name}: {shown.shown(min(line.y))} to {shown.shown(max(line.y))}"
    moved = f", {percent(last / first - 1)} over {len(line.y)} versions" if len(line.y) > 1 and first else ""
    return f"{line.name}: {shown.shown(last)}{moved}"
