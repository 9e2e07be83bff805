"""Decides which findings of a history may be shown: exact ones, those that a rerun confirmed, and those beyond
doubt."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from harness.analysis.ab import sides
from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.confirmation import Confirmation, confirm
from harness.analysis.regression.finding import Finding, OutlierNight
from harness.analysis.regression.findings import judge
from harness.analysis.regression.series import NO_GRAPH, Samples
from harness.core.errors import HarnessError
from harness.core.procedure import DURATION
from harness.metrics import suite
from harness.metrics.records import Commit, Document, Sample, Version
from harness.runner.session import Session

KIND = "confirmation"


@dataclass(frozen=True, slots=True)
class ReportableFindings:
    """What may be shown of a history: findings by time, and outlier nights."""

    findings: list[Finding]
    nights: list[OutlierNight]


def judged(
    samples: Samples, documents: Iterable[Document], graph: Graph = NO_GRAPH, branch: str = ""
) -> ReportableFindings:
    """The findings that may be shown: those of exact numbers, those that a rerun confirmed however weak they were,
    and those that are strong enough without one. Findings that a rerun refuted are left out.

    `confirmed` is None without a rerun, which exact numbers don't need. A night at the end of the history becomes
    a finding when a rerun of its version confirmed it.
    """
    reruns = {document.subject: document.body for document in documents if document.kind == KIND}
    seen = judge(samples, graph=graph, branch=branch)
    beyond_doubt = {_about(one) for one in seen.findings}
    found, nights = [], []
    for one in seen.suspicions:
        confirmed = None if one.metric.exact else _confirmed(reruns, one)
        if one.metric.exact or confirmed or (confirmed is None and _about(one) in beyond_doubt):
            found.append(_as_rerun(replace(one, confirmed=confirmed), reruns))
    for night in seen.nights:
        confirmed = _confirmed(reruns, night.suspect)
        if confirmed and not night.alone:
            found.append(_as_rerun(replace(night.suspect, confirmed=True), reruns))
        else:
            nights.append(replace(night, confirmed=confirmed))
    return ReportableFindings(found, nights)


def reportable_findings(
    samples: Samples, documents: Iterable[Document], graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """The findings of `judged`."""
    return judged(samples, documents, graph, branch).findings


def unconfirmed(
    samples: Samples, documents: Iterable[Document], graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """The suspicions that deserve a rerun and had none: steps, then nights."""
    rerun = {document.subject for document in documents if document.kind == KIND}
    seen = judge(samples, graph=graph, branch=branch)
    suspects = [one for one in seen.suspicions if not one.metric.exact] + [one.suspect for one in seen.nights]
    return [one for one in suspects if _about(one) not in rerun]


def _confirmed(reruns: Mapping[str, Mapping[str, Any]], finding: Finding) -> bool | None:
    """The result of the rerun of this suspicion; None if there was none."""
    body = reruns.get(_about(finding))
    return None if body is None else bool(body["confirmed"])


def _as_rerun(finding: Finding, reruns: Mapping[str, Mapping[str, Any]]) -> Finding:
    """The finding with the size and the interval that its rerun measured, which have no selection bias."""
    judgement = reruns.get(_about(finding), {}).get("judgement", {}) if finding.confirmed else {}
    if judgement.get("change") is None or judgement.get("interval") is None:
        return finding
    change, (low, high) = judgement["change"], judgement["interval"]
    new = finding.old_level + change * (abs(finding.old_level) or 1.0)
    return replace(finding, change=change, interval=(low, high), new_level=new)


def confirm_on_host(session: Session, suspect: Finding, dice: Random, run: str) -> tuple[Confirmation, Document]:
    """Build the versions before and after the suspected change, and measure both again in pairs.

    Raises `HarnessError` if either can't be built any more; then nothing is known.
    """
    before, after = suspect.span or (suspect.before, suspect.after)
    cell = session.cell(suspect.cell)
    if cell.kernel != "osv":
        why = "Debian's older kernels are gone from its mirror"
        raise HarnessError(f"{suspect.metric.name} on {suspect.cell} can't be rerun: {why}.")
    metric = suspect.metric.name
    a, b = (sides.build(session, cell, version.commit, [metric], DURATION, run) for version in (before, after))
    name = suite.measuring(metric, cell)

    def pair(order: tuple[str, str]) -> tuple[float, float]:
        taken = {side: sides.measure_once({"a": a, "b": b}[side], name, metric) for side in order}
        return taken["a"], taken["b"]

    done = confirm(suspect.metric, suspect.change, pair, dice)
    body = {"confirmed": done.confirmed, "pairs": done.pairs, "judgement": done.judgement.to_json()}
    return done, Document(KIND, suspect.cell, _about(suspect), body, suspect.after, run, time.time())


def measure_again(
    session: Session, cell: str, version: Version, metrics: Iterable[str], run: str
) -> list[Sample | Document | Commit]:
    """Build an old version with today's builder and measure these metrics. Raises `HarnessError`."""
    side = sides.build(session, session.cell(cell), version.commit, sorted(metrics), DURATION, run)
    return [record for one in side.measurements.values() for record in one.take().records]


def _about(finding: Finding) -> str:
    """What a rerun is about: a step of a series, named by the commits between which it lies."""
    commits = f"{finding.before.commit[:12]}..{finding.after.commit[:12]}"
    return f"{finding.metric.name} {finding.subject} {finding.cell} {commits}"
