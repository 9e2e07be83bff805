"""Describes a bisection for the page: the answer, the builds and numbers of each commit, and what the culprit
changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from harness.report.model.formatting import SHORT_COMMIT, percent, scale, shown

FULL = "█"
BAR = 20
"""Characters of the bar for a probability of 1."""
MOST_VALUES = 8
"""Up to so many values of one build are listed; of more, their mean and their range are shown."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A commit of the range: its probability as a number and as a bar, and what its builds measured."""

    commit: str
    subject: str
    probability: str
    bar: str
    numbers: Sequence[str]
    culprit: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the boot or of the kernel that the culprit changed, with its values before and after."""

    kind: str
    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True)
class BisectionSummary:
    """The answer of a bisection in sentences, the commits in their order, and the parts that the culprit
    changed."""

    said: Sequence[str]
    tried: Sequence[Tried]
    parts: Sequence[Part]


def bisected(body: Mapping[str, Any]) -> BisectionSummary:
    """Summarise the body of a bisection's document. May raise any exception if the body has another format."""
    answer, unit, kind = body["answer"], str(body["measure"]["unit"]), str(body["measure"]["kind"])
    culprits = {commit for one in answer["culprits"] for commit in one["commits"]}
    return BisectionSummary(
        [*_answered(answer, unit, kind), _range(body)],
        [_tried(row, unit, kind, row["commit"] in culprits) for row in body["commits"]],
        [_part(row) for row in body["differences"]],
    )


def _answered(answer: Mapping[str, Any], unit: str, kind: str) -> list[str]:
    """The answer in sentences: the outcome, the culprits, the warnings, the checks, and the answer inside a
    merge."""
    sentences = [f"{answer['outcome'].capitalize()}. {answer['why']}".strip()]
    sentences += [f"Looked for: {answer['cause']}."] if answer.get("cause") else []
    for culprit in answer["culprits"]:
        named = ", ".join(commit[:SHORT_COMMIT] for commit in culprit["commits"][:8])
        relative = f" ({percent(culprit['change'] / culprit['old_level'])})" if culprit["old_level"] > 0 else ""
        old, new = (_number(culprit[level], unit, kind) for level in ("old_level", "new_level"))
        size = f"from {old} to {new}{relative}"
        sentences.append(f"{named}: {size}, with a probability of {culprit['probability']:.4g}.")
    sentences += [f"Beware: {warning['text']}" for warning in answer["warnings"]]
    words = {True: "holds", False: "does not hold", None: "can't say"}
    sentences += [
        f"{check['name'].capitalize()} {words[check['passed']]}: {check['detail']}" for check in answer["checks"]
    ]
    if answer["inside"]:
        sentences.append(f"Inside that merge: {' '.join(_answered(answer['inside'], unit, kind))}")
    return sentences


def _range(body: Mapping[str, Any]) -> str:
    """The range of commits, and what the search cost: builds and boots."""
    (good, bad, count), answer = body["range"], body["answer"]
    return (
        f"{count} commits, {good[:SHORT_COMMIT]} to {bad[:SHORT_COMMIT]}: {answer['builds']} builds, "
        f"{answer['broken']} of them broken, and {answer['boots']} boots."
    )


def _tried(row: Mapping[str, Any], unit: str, kind: str, culprit: bool) -> Tried:
    chance = float(row["probability"])
    numbers = [_build(one, unit, kind) for one in row["builds"]]
    if row["broken"]:
        numbers.append(f"can't be measured: {row['broken']}")
    return Tried(
        row["commit"][:SHORT_COMMIT], row["subject"], f"{chance:.1%}", FULL * round(chance * BAR), numbers, culprit
    )


def _build(one: Mapping[str, Any], unit: str, kind: str) -> str:
    """One build and its values in words. `kind` is that of the measure: `test`, `exact` or noisy."""
    values = one["values"]
    where = f"layout {one['layout']}: " if one["layout"] else ""
    if not values:
        return f"{where}built, and not booted"
    if kind == "test":
        return f"{where}failed {sum(values):.0f} of {len(values)} times"
    if len(set(values)) == 1:
        return f"{where}{values[0]:,.10g} {unit}, {len(values)} boot{'' if len(values) == 1 else 's'}"
    if len(values) <= MOST_VALUES:
        return where + ", ".join(shown(value, unit) for value in values)
    ends = f"{shown(min(values), unit)} to {shown(max(values), unit)}"
    return f"{where}mean {shown(mean(values), unit)} of {len(values)} boots, {ends}"


def _number(value: float, unit: str, kind: str) -> str:
    if kind == "test":
        return f"failing {value:.0%}"
    return f"{value:,.10g} {unit}" if kind == "exact" else shown(value, unit)


def _part(row: Mapping[str, Any]) -> Part:
    before, after = float(row["before"]), float(row["after"])
    scaled = scale(row["unit"], max(abs(before), abs(after)))
    change = percent(after / before - 1) if before and after else ("new" if after else "gone")
    moved = f"{after - before:+,.10g} {row['unit']}, {change}"
    return Part(row["kind"], row["name"], scaled.shown(before), scaled.shown(after), moved)
