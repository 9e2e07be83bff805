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

LONGEST_TEXT = 300
"""Characters of one text in a report; the whole of it stays in the history."""


LONGEST_NOTE = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """All that a report rests on. Nothing of it need be in any order.

    `notes` are sentences that stand beside the findings, and `asides` lines on nights and creeps, which are none;
    `graph` is how commits follow each other.
    """

    samples: Sequence[Sample] = ()
    judged: Sequence[Judged] = ()
    documents: Sequence[Document] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    graph: Graph = field(default_factory=dict)
    asides: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report on."""
        return not (self.samples or self.judged or self.documents)

    @property
    def rows(self) -> list[Sample | Judged | Document]:
        """Everything that was recorded, which all has a cell, a version and a time."""
        return [*self.samples, *self.judged, *self.documents]

    @property
    def safe(self) -> Self:
        """The same, each text of it one line that shows as what it is: no controls, no escapes, not too long.

        Where the text is put may need more: HTML, Markdown and OpenMetrics each have an escaping of their own.
        """
        return replace(
            self,
            samples=[_sample(sample) for sample in self.samples],
            judged=[_judged(judged) for judged in self.judged],
            documents=[_document(document) for document in self.documents],
            findings=[_finding(finding) for finding in self.findings],
            notes=[safe_text(note, LONGEST_NOTE) for note in self.notes],
            asides=[safe_text(line, LONGEST_NOTE) for line in self.asides],
        )


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
    texts = {name: safe_text(getattr(found, name)) for name in found.__slots__ if name not in ("cpus", "load")}
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
