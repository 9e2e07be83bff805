"""The most important things first: findings and unexpected verdicts, as rows of words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from harness.analysis.regression.finding import Finding
from harness.metrics.history.records import VerdictRecord
from harness.report.model.formatting import moment, percent, scale, version_name
from harness.report.model.outcomes import BAD, Test, standing, symbol, words
from harness.report.model.stacked_metrics import whole

Named = tuple[str, str, str]
"""A metric's name, a cell, a subject: what a finding is about."""

MOST_NEWS = 200
"""The most findings, and unexpected verdicts, that a report lists; it says how many more there are."""


@dataclass(frozen=True, slots=True)
class FindingWords:
    """A finding in words.

    `commits` are those of `before` and `after`. `figure` is the id of the figure that marks it, if there is one.
    `relative` is the change in percent.
    """

    worse: bool
    metric: str
    cell: str
    subject: str
    change: str
    interval: str
    levels: str
    before: str
    after: str
    commits: tuple[str, str]
    span: str
    when: str
    confidence: str
    confirmed: str
    figure: str = ""
    relative: float = 0.0


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, most important first: worse before better, confirmed before unconfirmed, whole metrics
    before their parts, large before small; refuted ones last."""
    return sorted(
        findings,
        key=lambda found: (
            found.confirmed is False,
            not found.worse,
            not found.confirmed,
            whole(found.metric.name) is not None,
            -abs(found.change),
        ),
    )


def interval_words(finding: Finding) -> str:
    """The interval of the change in words; `exact` if its ends are equal."""
    low, high = (percent(bound) for bound in finding.interval)
    return "exact" if low == high else f"{low} … {high}"


def _confidence(finding: Finding) -> str:
    chance = "no noise" if finding.metric.exact else f"p = {finding.probability:.2g}"
    return f"{chance}, {finding.samples[0]} + {finding.samples[1]} samples"


def _span(finding: Finding) -> str:
    """The versions between which the step surely lies, if they are further apart than `before` and `after`;
    else empty."""
    if finding.span is None or finding.span == (finding.before, finding.after):
        return ""
    return f"surely after {version_name(finding.span[0])}, by {version_name(finding.span[1])}"


RERUN = {None: "not rerun", True: "confirmed by a rerun", False: "not seen again in a rerun"}


def in_words(finding: Finding, figures: Mapping[Named, str]) -> FindingWords:
    """Describe a finding for people."""
    shown = scale(finding.metric.unit, max(abs(finding.old_level), abs(finding.new_level)))
    return FindingWords(
        finding.worse,
        finding.metric.name,
        finding.cell,
        finding.subject,
        percent(finding.change),
        interval_words(finding),
        f"{shown.shown(finding.old_level)} → {shown.shown(finding.new_level)}",
        version_name(finding.before),
        version_name(finding.after),
        (finding.before.commit, finding.after.commit),
        _span(finding),
        moment(finding.after.committed),
        _confidence(finding),
        "exact" if finding.metric.exact and finding.confirmed is None else RERUN[finding.confirmed],
        figures.get((finding.metric.name, finding.cell, finding.subject), ""),
        round(100 * finding.change, 4) if isfinite(finding.change) else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Cause:
    """Findings with one cause: the most important one, and the others."""

    first: FindingWords
    others: Sequence[FindingWords]

    @property
    def cells(self) -> list[str]:
        """All cells with such a finding."""
        return list(dict.fromkeys(one.cell for one in (self.first, *self.others)))

    @property
    def metrics(self) -> list[str]:
        """All metrics with such a finding."""
        return list(dict.fromkeys(one.metric for one in (self.first, *self.others)))

    @property
    def relative(self) -> float:
        """The largest change, in percent."""
        return max(abs(one.relative) for one in (self.first, *self.others))


def by_cause(findings: Sequence[Finding], figures: Mapping[Named, str] = MappingProxyType({})) -> list[Cause]:
    """All findings in words, grouped by their causes, the most important first."""
    return [cause_words(one, figures) for one in causes_of(findings)]


def causes_of(findings: Sequence[Finding]) -> list[list[Finding]]:
    """The findings of each cause, the most important first."""
    groups: dict[tuple[str, int], list[Finding]] = {}
    for number, finding in enumerate(ordered(findings)):
        # Cause 0 is that of findings whose cause is not known: each stands alone.
        key = ("known", finding.cause) if finding.cause else ("unknown", number)
        groups.setdefault(key, []).append(finding)
    return list(groups.values())


def cause_words(alike: Sequence[Finding], figures: Mapping[Named, str] = MappingProxyType({})) -> Cause:
    """Describe the findings of one cause."""
    first, *others = (in_words(finding, figures) for finding in alike)
    return Cause(first, others)


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A test whose latest verdict was not expected. `since` is the version at which that began."""

    judged: VerdictRecord
    words: str
    symbol: str
    since: str


def unexpected(tests: Sequence[Test]) -> list[Unexpected]:
    """The tests that need attention; those that changed last come first."""
    bad = [test for test in tests if standing(test.latest) == BAD]
    rows = [(_first_bad(test), test) for test in bad]
    return [
        Unexpected(test.latest, words(test.latest), symbol(test.latest.outcome), version_name(first.version))
        for first, test in sorted(rows, key=lambda pair: -pair[0].taken)
    ]


def _first_bad(test: Test) -> VerdictRecord:
    first = test.latest
    for judged in reversed(test.runs):
        if standing(judged) != BAD:
            break
        first = judged
    return first
