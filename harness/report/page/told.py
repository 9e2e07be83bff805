"""What every report is told: the samples, verdicts, documents and findings of a history, made safe to show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from harness.console.transcript import printable
from harness.history.records import Judged
from harness.measure import Document, Environment, Metric, Sample, Version
from harness.regress import Finding
from harness.regress.ancestry import Graph
from harness.report.spans import PLAN

LONGEST_TEXT = 300
"""Characters of one text in a report; the whole of it stays in the history."""


LONGEST_NOTE = 1000

ENVIRONMENT_TEXTS = [name for name in Environment.__slots__ if name not in ("cpus", "load")]


@dataclass(frozen=True, slots=True)
class Told:
    """All that a report rests on. Nothing of it need be in any order.

    `notes` are sentences that stand beside the findings; `graph` is how commits follow each other.
    """

    samples: Sequence[Sample] = ()
    judged: Sequence[Judged] = ()
    documents: Sequence[Document] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    graph: Graph = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report on."""
        return not (self.samples or self.judged or self.documents)

    @property
    def rows(self) -> list[Sample | Judged | Document]:
        """Everything that was recorded, which all has a cell, a version and a time."""
        return [*self.samples, *self.judged, *(one for one in self.documents if one.kind != PLAN)]

    @property
    def safe(self) -> Self:
        """The same, each text of it one line that shows as what it is: no controls, no escapes, not too long.

        Where the text is put may need more: HTML, Markdown and OpenMetrics each have an escaping of their own.
        Records of which no text has to change are the same objects: of a year there are a million.
        """
        samples, judged = self.samples, self.judged
        return replace(
            self,
            samples=samples if _all_safe(_texts_of_samples(samples)) else list(map(_sample, samples)),
            judged=judged if _all_safe(_texts_of_judged(judged)) else list(map(_judged, judged)),
            documents=[_document(document) for document in self.documents],
            findings=[_finding(finding) for finding in self.findings],
            notes=[safe_text(note, LONGEST_NOTE) for note in self.notes],
        )


def _all_safe(texts: Iterable[str]) -> bool:
    return all(safe_text(text) == text for text in texts)


def _texts_of_samples(samples: Sequence[Sample]) -> set[str]:
    """Every text of the samples, once."""
    found = {one.cell for one in samples} | {one.subject for one in samples} | {one.run for one in samples}
    found |= {one.unit for one in {one.metric for one in samples}}
    return found | _texts_of_places(samples)


def _texts_of_judged(judged: Sequence[Judged]) -> set[str]:
    """Every text of the verdicts, once."""
    found = {one.cell for one in judged} | {one.suite for one in judged} | {one.run for one in judged}
    found |= {one.test for one in judged} | {one.outcome for one in judged} | {one.reason for one in judged}
    return found | _texts_of_places(judged)


def _texts_of_places(rows: Sequence[Sample | Judged]) -> set[str]:
    """The texts of their versions and environments."""
    versions = list({id(one.version): one.version for one in rows}.values())
    found = {text for one in versions for text in (one.commit, one.digest, one.described, one.builder)}
    places = list({id(one.environment): one.environment for one in rows}.values())
    return found | {getattr(one, name) for name in ENVIRONMENT_TEXTS for one in places}


@lru_cache(maxsize=65536)
def safe_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text that changes nothing but the place it is shown in, cut to so many characters."""
    # Lone surrogates come from JSON; they are no text, and can't be written as UTF-8.
    shown = printable(text.encode("utf-8", "backslashreplace")).replace("\t", " ")
    more = len(shown) - longest
    return f"{shown[:longest]} … {more} more" if more > 0 else shown


@lru_cache(maxsize=4096)
def _version(version: Version) -> Version:
    return replace(
        version,
        commit=safe_text(version.commit), digest=safe_text(version.digest), described=safe_text(version.described),
        builder=safe_text(version.builder),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _environment(found: Environment) -> Environment:
    texts = {name: safe_text(getattr(found, name)) for name in ENVIRONMENT_TEXTS}
    return replace(found, **texts)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _metric(metric: Metric) -> Metric:
    # Its name can't be anything but letters, digits and a few signs.
    return replace(metric, unit=safe_text(metric.unit))


def _sample(sample: Sample) -> Sample:
    return replace(
        sample,
        metric=_metric(sample.metric),
        cell=safe_text(sample.cell), subject=safe_text(sample.subject), run=safe_text(sample.run),
        version=_version(sample.version), environment=_environment(sample.environment),
    )  # fmt: skip


def _judged(judged: Judged) -> Judged:
    return replace(
        judged,
        suite=safe_text(judged.suite), cell=safe_text(judged.cell), test=safe_text(judged.test),
        outcome=safe_text(judged.outcome), reason=safe_text(judged.reason), run=safe_text(judged.run),
        version=_version(judged.version), environment=_environment(judged.environment),
    )  # fmt: skip


def _document(document: Document) -> Document:
    return replace(
        document,
        kind=safe_text(document.kind), cell=safe_text(document.cell), subject=safe_text(document.subject),
        run=safe_text(document.run), body=document.body if document.kind == "load" else _safe_json(document.body),
        version=_version(document.version),
    )  # fmt: skip


def _finding(finding: Finding) -> Finding:
    return replace(
        finding,
        cell=safe_text(finding.cell), subject=safe_text(finding.subject),
        before=_version(finding.before), after=_version(finding.after),
        span=finding.span and (_version(finding.span[0]), _version(finding.span[1])),
    )  # fmt: skip


def _safe_json(value: Any) -> Any:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _safe_json(inner) for key, inner in value.items()}
    if isinstance(value, Iterable):
        return [_safe_json(inner) for inner in value]
    return value
