"""Writes notes to the findings: changes of the builder, versions of other branches, and exact metrics with
noise."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from scipy.stats import mannwhitneyu

from harness.analysis.regression.ancestry import Graph, Node, node_of
from harness.analysis.regression.change_points import LEVEL
from harness.analysis.regression.grouping import UNRECORDED, Group, by_version, kernel_of, value_of
from harness.analysis.regression.series import NO_GRAPH, Numbers, Samples, numbers
from harness.core import facts
from harness.metrics.records import Metric, Sample, Version

MOST = 5
"""The most notes of one kind. Another one says how many more there are."""

METRICS = 3
"""Metrics that one note names, the most changed first."""

AROUND = 10
"""A noisy metric of a branch is compared with so many versions on each side of where the branch left."""

FEWEST = 5
"""The fewest samples on each side of such a comparison."""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence of one `kind`: `builder`, `branch` or `exactness`."""

    kind: str
    text: str


@dataclass(slots=True)
class _Effects:
    """The metrics that changed with a builder or a branch.

    `found` has the relative change of each metric, `same` the metrics for which commits built on both sides were
    compared.
    """

    found: dict[str, float] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)

    def add(self, metric: Metric, change: float, of_same: bool) -> None:
        """Add a change; the greatest one of each metric counts. Parts are left out."""
        if change and not metric.is_part and abs(change) >= abs(self.found.get(metric.name, 0.0)):
            self.found[metric.name] = change
            self.same |= {metric.name} if of_same else set()

    def words(self) -> str:
        """The changes in words: `boot.instructions +1.9%, size.kernel +0.8%`."""
        ordered = sorted(self.found.items(), key=lambda pair: -abs(pair[1]))
        told = ", ".join(f"{name} {change:+.3g}%" for name, change in ((n, c * 100) for n, c in ordered[:METRICS]))
        return f"{told} and {len(ordered) - METRICS} others" if len(ordered) > METRICS else told


def notes(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> list[Note]:
    """All notes to the findings of these samples, the newest of each kind first."""
    every = numbers(samples, graph, branch)
    return [
        *_limited("builder", _builders(every.groups)),
        *_limited("branch", _branches(every)),
        *_limited("exactness", _doubts(every.groups)),
    ]


def _limited(kind: str, texts: Iterable[str]) -> list[Note]:
    every = list(texts)
    more = [f"{len(every) - MOST} more notes of this kind, of earlier."] if len(every) > MOST else []
    return [Note(kind, text) for text in (*every[:MOST], *more)]


def _doubts(groups: Iterable[Group]) -> Iterator[str]:
    """A sentence for each group whose metric is declared exact and is not."""
    for group in groups:
        if group.doubt:
            one = group.samples[0]
            yield f"{one.metric.name} on {one.cell} is said to be exact, but {group.doubt}: judged as noise."


def _builders(groups: Iterable[Group]) -> list[str]:
    """A sentence for each pair of builders that followed each other, or were used at the same time; the newest
    first."""
    pairs: dict[tuple[str, str, str], list[tuple[Group, Group]]] = defaultdict(list)
    for before, after in successions(groups):
        pairs[_about(before), _label(before), _label(after)].append((before, after))
    dated_texts = [
        (min(after.samples[0].taken for _, after in met), text)
        for (about, old, new), met in pairs.items()
        if (text := _builder_words(about, old, new, met))
    ]
    return [text for _, text in sorted(dated_texts, reverse=True)]


def successions(groups: Iterable[Group]) -> Iterator[tuple[Group, Group]]:
    """Yield, for each metric, cell and subject, pairs of groups that different builders or emulators made one
    after the other; the oldest first."""
    alike: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in groups:
        one = group.samples[0]
        alike[one.metric.name, one.cell, one.subject, one.environment.accelerator].append(group)
    for several in alike.values():
        for before, after in pairwise(sorted(several, key=lambda group: group.samples[0].taken)):
            if _label(before) != _label(after):
                yield before, after


def unbridged(every: Numbers) -> dict[tuple[str, Version], set[str]]:
    """The changes of builder whose effect is unknown, because the new builder has built none of the old one's
    commits.

    By cell and the last version that the old builder built: the exact metrics for which that is so. Only for OSv;
    Debian's older kernels can't be built again.
    """
    latest = {
        (before.metric.name, before.samples[0].cell, before.samples[0].subject): (before, after)
        for before, after in successions(every.groups)
    }
    found: dict[tuple[str, Version], set[str]] = defaultdict(set)
    for (metric, cell, _), (before, after) in latest.items():
        recorded = before.samples[-1].version.builder and after.samples[-1].version.builder
        bridged = _effect(before.samples, after.samples)[1]
        if kernel_of(cell) == "osv" and before.metric.exact and recorded and not bridged:
            times = every.orders[kernel_of(cell)].of(by_version(before.samples)).line
            last = max(before.samples, key=lambda one: (times.get(node_of(one.version), -inf), one.taken))
            found[cell, last.version].add(metric)
    return found


def _about(group: Group) -> str:
    return group.samples[0].cell.partition("-")[0]


def _label(group: Group) -> str:
    """What built the samples; for exact ones, also the emulator and the firmware, on which they depend."""
    where = group.samples[0].environment
    machine = {"emulator": where.emulator, "firmware": where.firmware} if group.metric.exact else {}
    return facts.format_facts({**facts.parse_facts(group.builder), **machine})


def _builder_words(about: str, old: str, new: str, met: Sequence[tuple[Group, Group]]) -> str:
    recorded = all(group.samples[0].version.builder for pair in met for group in pair)
    effects = _Effects()
    for before, after in met:
        if before.metric.exact:
            effects.add(before.metric, *_effect(before.samples, after.samples))
    what = facts.difference(old, new)
    built = recorded and any(name in what for name in facts.OF_BUILDERS)
    if not (effects.found or built):
        return ""
    beside = any(after.samples[0].taken < before.samples[-1].taken for before, after in met)
    first = min((after.samples[0] for _, after in met), key=lambda one: one.taken).version
    how = "beside each other" if beside else f"since {_name(first)}"
    who = f"{about}: {'two builders' if beside else 'another builder'} {how} ({what})"
    if not recorded:
        why = "two builds of one commit differ" if UNRECORDED in new else "the host stands for it"
        who += f"; what built it is not recorded, {why}"
    if not effects.found:
        return f"{who}; no exact number was seen to change with it."
    seen = "of the same commits" if effects.found.keys() <= effects.same else "there"
    return f"{who}: {effects.words()} {seen}. No commit is blamed for it."


def _effect(before: Sequence[Sample], after: Sequence[Sample]) -> tuple[float, bool]:
    """The median relative change from one builder to the next, and whether commits that both built were
    compared."""
    old, new = by_version(before), by_version(after)
    common = [node for node in old if node in new]
    pairs = [(value_of(old[node]), value_of(new[node])) for node in common] or [(before[-1].value, after[0].value)]
    changes = sorted((b - a) / (abs(a) or 1.0) for a, b in pairs)
    return changes[len(changes) // 2], bool(common)


def _branches(every: Numbers) -> list[str]:
    """A sentence for the versions of each branch that left the line; the newest first."""
    groups = [group for group in every.groups if every.orders[kernel_of(group.samples[0].cell)].left]
    effects: dict[tuple[str, Node | None], _Effects] = defaultdict(_Effects)
    versions: dict[tuple[str, Node | None], dict[Node, Version]] = defaultdict(dict)
    bases: dict[tuple[str, Node | None], Version] = {}
    for group in groups:
        kernel = kernel_of(group.samples[0].cell)
        found = by_version(group.samples)
        order = every.orders[kernel].of(found)
        line = [node for node in order.line if node in found]
        for left, ones in _leaving(found, order.left).items():
            key = kernel, left
            versions[key] |= {node_of(one.version): one.version for one in ones}
            base = _base(line, left, order.line)
            if base is not None:
                bases[key] = found[line[base]][0].version
                effects[key].add(group.metric, _branch_effect(group, ones, found, line, base), False)
    dated_texts = [
        (max(one.committed for one in those.values()), _branch_words(key, those, bases.get(key), effects[key]))
        for key, those in versions.items()
    ]
    return [text for _, text in sorted(dated_texts, reverse=True)]


def _leaving(
    found: Mapping[Node, list[Sample]], left: Mapping[Node, Node | None]
) -> dict[Node | None, list[Sample]]:
    """The samples of the versions beside the line, by the version where their branch left it."""
    by_left: dict[Node | None, list[Sample]] = defaultdict(list)
    for node, samples in found.items():
        if node in left:
            by_left[left[node]] += samples
    return by_left


def _base(line: Sequence[Node], left: Node | None, times: Mapping[Node, float]) -> int | None:
    """The index in `line` of the last version at or before the one where the branch left; None if there is
    none."""
    if left is None:
        return None
    before = [place for place, node in enumerate(line) if times[node] <= times[left]]
    return before[-1] if before else None


def _branch_effect(
    group: Group, ones: Sequence[Sample], found: Mapping[Node, list[Sample]], line: Sequence[Node], base: int
) -> float:
    """The relative change compared with where the branch left; 0 if it is noise."""
    if group.exact:
        old = value_of(found[line[base]])
        return (value_of(ones) - old) / (abs(old) or 1.0)
    near = [one for node in line[max(0, base - AROUND) : base + AROUND] for one in found[node]]
    if min(len(near), len(ones)) < FEWEST:
        return 0.0
    chance = mannwhitneyu([one.value for one in ones], [one.value for one in near]).pvalue
    old = value_of(near)
    return (value_of(ones) - old) / (abs(old) or 1.0) if chance <= LEVEL else 0.0


def _branch_words(
    key: tuple[str, Node | None], those: Mapping[Node, Version], base: Version | None, effects: _Effects
) -> str:
    names = [_name(one) for one in sorted(those.values(), key=lambda one: one.committed)]
    who = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    verb = "is" if len(names) == 1 else "are"
    where = f", left at {_name(base)}" if base else ""
    told = f": {effects.words()} against it" if effects.found else ""
    return f"{key[0]}: {who} {verb} of another branch{where}{told}. No series has them but with --branch."


def _name(version: Version) -> str:
    return version.described or version.commit[:12]
