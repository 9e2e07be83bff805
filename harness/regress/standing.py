"""The findings of a history that may be shown: what is exact, what a rerun confirmed, what is beyond doubt."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from harness.errors import HarnessError
from harness.lab import Lab
from harness.load import DURATION
from harness.measure import Document, Sample, suite
from harness.regress import Finding, sides
from harness.regress.ancestry import Graph
from harness.regress.confirm import Confirmation, confirm
from harness.regress.findings import findings, suspicions
from harness.regress.series import NO_GRAPH

KIND = "confirmation"


def standing(
    samples: Sequence[Sample], documents: Iterable[Document], graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """Findings by time: those of exact numbers, those that a rerun confirmed however weak they were, and those
    that are strong enough without one; what a rerun did not confirm is not among them.

    `confirmed` is None where there was no rerun, which exact numbers need not.
    """
    said = {document.subject: bool(document.body["confirmed"]) for document in documents if document.kind == KIND}
    beyond_doubt = {_about(one) for one in findings(samples, graph=graph, branch=branch)}
    found = []
    for one in suspicions(samples, graph=graph, branch=branch):
        confirmed = None if one.metric.exact else said.get(_about(one))
        if one.metric.exact or confirmed or (confirmed is None and _about(one) in beyond_doubt):
            found.append(replace(one, confirmed=confirmed))
    return found


def unconfirmed(
    samples: Sequence[Sample], documents: Iterable[Document], graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """What is worth a rerun, and has had none."""
    said = {document.subject for document in documents if document.kind == KIND}
    every = suspicions(samples, graph=graph, branch=branch)
    return [one for one in every if not one.metric.exact and _about(one) not in said]


def rerun(lab: Lab, suspect: Finding, dice: Random, run: str) -> tuple[Confirmation, Document]:
    """Build what came before the suspect and what came after, and measure both again, in pairs.

    Raises `HarnessError` where either can't be had any more: then nothing is known.
    """
    before, after = suspect.span or (suspect.before, suspect.after)
    cell = lab.cell(suspect.cell)
    if cell.kernel != "osv":
        why = "Debian's older kernels are gone from its mirror"
        raise HarnessError(f"{suspect.metric.name} on {suspect.cell} can't be rerun: {why}.")
    metric = suspect.metric.name
    a, b = (sides.build(lab, cell, version.commit, [metric], DURATION) for version in (before, after))
    name = suite.measuring(metric, cell)

    def pair(order: tuple[str, str]) -> tuple[float, float]:
        taken = {side: sides.once({"a": a, "b": b}[side], name, metric) for side in order}
        return taken["a"], taken["b"]

    done = confirm(suspect.metric, suspect.change, pair, dice)
    body = {"confirmed": done.confirmed, "pairs": done.pairs, "judgement": done.judgement.to_json()}
    return done, Document(KIND, suspect.cell, _about(suspect), body, suspect.after, run, time.time())


def _about(one: Finding) -> str:
    """What a rerun speaks of: a step in a series, by the commits between which it lies."""
    return f"{one.metric.name} {one.subject} {one.cell} {one.before.commit[:12]}..{one.after.commit[:12]}"
