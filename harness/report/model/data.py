"""The data of every report: the samples, verdicts, documents and findings of a history, made safe to show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from operator import is_
from typing import Any, Self, TypeVar

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.finding import Finding
from harness.analysis.regression.series import Numbers, numbers
from harness.core.text import printable
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictKind, VerdictTable
from harness.metrics.records import Document, Environment, Metric, Sample, Version
from harness.report.model.spans import PLAN

LONGEST_TEXT = 300
"""The most characters of one text in a report; the history keeps the whole text."""


LONGEST_NOTE = 1000


@dataclass(frozen=True)
class ReportData:
    """All data of a report, in any order.

    `notes` are sentences beside the findings, and `asides` lines about nights and drift, which are no findings;
    `suspected` are lines about steps that too few nights show.
    `graph` is the graph of commits, and `grouped` are the samples in series, if they were already grouped.
    """

    samples: Sequence[Sample] = ()
    judged: Sequence[VerdictRecord] = ()
    documents: Sequence[Document] = ()
    findings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    graph: Graph = field(default_factory=dict)
    asides: Sequence[str] = ()
    grouped: Numbers | None = None
    suspected: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report on."""
        return not (self.samples or self.judged or self.documents)

    @cached_property
    def rows(self) -> list[Sample | VerdictRecord | Document]:
        """Everything that was recorded; each row has a cell, a version and a time."""
        return [*self.samples, *self.judged, *(one for one in self.documents if one.kind != PLAN)]

    @cached_property
    def numbers(self) -> Numbers:
        """The samples in series, as the findings judged them."""
        return self.grouped or numbers(self.samples, self.graph)

    @cached_property
    def verdicts(self) -> VerdictTable:
        """The verdicts as a table."""
        return VerdictTable.of(self.judged)

    @property
    def safe(self) -> Self:
        """The same with each text as one safe line: no controls, no escapes, not too long.

        The format may need more escaping: HTML, Markdown and OpenMetrics each have their own. Samples without a
        change are the same objects: of a year there are half a million.
        """
        safe = _Safe()
        samples = [safe.sample(sample) for sample in self.samples]
        return replace(
            self,
            samples=samples,
            grouped=self.grouped if all(map(is_, samples, self.samples)) else None,
            judged=safe.verdicts(self.verdicts),
            documents=[safe.document(document) for document in self.documents],
            findings=[safe.finding(finding) for finding in self.findings],
            notes=[safe_text(note, LONGEST_NOTE) for note in self.notes],
            asides=[safe_text(line, LONGEST_NOTE) for line in self.asides],
            suspected=[safe_text(line, LONGEST_NOTE) for line in self.suspected],
        )


@lru_cache(maxsize=65536)
def safe_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text that does not control a terminal, cut to `longest` characters."""
    # Lone surrogates come from JSON; they are no text, and can't be written as UTF-8.
    shown = printable(text).replace("\t", " ")
    more = len(shown) - longest
    return f"{shown[:longest]} … {more} more" if more > 0 else shown


Part = TypeVar("Part", Metric, Version, Environment)


class _Safe:
    """Makes records safe. A record that is already safe, as nearly all are, stays the same object; what many
    records share is checked once."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Any, Any]] = {}
        self._same: set[int] = set()
        self._sound: set[str] = set()

    def sample(self, one: Sample) -> Sample:
        """The sample."""
        sound, same = self._sound, self._same
        if (
            one.cell in sound and one.subject in sound and one.run in sound and id(one.metric) in same
            and id(one.version) in same and id(one.environment) in same
        ):  # fmt: skip
            return one
        texts = one.cell, one.subject, one.run
        shown = self._texts(texts)
        metric, version, where = self.part(one.metric), self.part(one.version), self.part(one.environment)
        if shown == texts and metric is one.metric and version is one.version and where is one.environment:
            return one
        return replace(
            one, metric=metric, cell=shown[0], subject=shown[1], run=shown[2], version=version, environment=where
        )

    def verdicts(self, table: VerdictTable) -> VerdictTable:
        """The verdicts, of which each text is looked at once."""
        kinds = [
            VerdictKind(
                safe_text(one.suite), safe_text(one.cell), safe_text(one.test), safe_text(one.outcome),
                one.expected, safe_text(one.reason),
            )
            for one in table.kinds
        ]  # fmt: skip
        return replace(
            table,
            kinds=kinds, versions=[*map(self.part, table.versions)],
            environments=[*map(self.part, table.environments)], runs=[*map(safe_text, table.runs)],
        )  # fmt: skip

    def _texts(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Each text safe; those that were so already are known from now on."""
        shown = tuple(map(safe_text, texts))
        self._sound.update(text for text, safe in zip(texts, shown, strict=True) if text == safe)
        return shown

    def document(self, one: Document) -> Document:
        """The document."""
        return replace(
            one,
            kind=safe_text(one.kind), cell=safe_text(one.cell), subject=safe_text(one.subject),
            run=safe_text(one.run), body=one.body if one.kind == "load" else _safe_json(one.body),
            version=self.part(one.version),
        )  # fmt: skip

    def finding(self, one: Finding) -> Finding:
        """The finding."""
        return replace(
            one,
            cell=safe_text(one.cell), subject=safe_text(one.subject),
            before=self.part(one.before), after=self.part(one.after),
            span=one.span and (self.part(one.span[0]), self.part(one.span[1])),
        )  # fmt: skip

    def part(self, part: Part) -> Part:
        """A metric, a version or an environment. A metric's name can't be but letters, digits and a few signs."""
        known = self._parts.get(id(part))
        if known is None:
            texts = {name: value for name in part.__slots__ if type(value := getattr(part, name)) is str}
            if isinstance(part, Metric):
                del texts["name"]
            shown = {name: text for name, value in texts.items() if (text := safe_text(value)) != value}
            changed: Any = shown
            known = self._parts[id(part)] = part, replace(part, **changed) if shown else part  # and keeps its id
            self._same |= set() if shown else {id(part)}
        safe: Part = known[1]
        return safe


def _safe_json(value: Any) -> Any:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _safe_json(inner) for key, inner in value.items()}
    if isinstance(value, Iterable):
        return [_safe_json(inner) for inner in value]
    return value
