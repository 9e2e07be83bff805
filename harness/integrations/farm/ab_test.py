"""A comparison on a farm: both sides on one worker, for numbers of two hosts may not be compared."""

from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.ab.ab_test import AbRequest, AbTest, run_ab_test
from harness.analysis.ab.sides import cell_of, is_checkout, is_commit
from harness.core.errors import HarnessError
from harness.integrations.farm.capabilities import lacking
from harness.integrations.farm.dask_cluster import connect
from harness.integrations.farm.dispatcher import heard, workers_of
from harness.integrations.farm.messages import CellRequest
from harness.integrations.farm.rpc import NobodyError, RemoteCaller
from harness.integrations.farm.run import Farm, order_of
from harness.integrations.farm.worker import lab_of
from harness.kernels.osv.clones import CommitClones
from harness.metrics.records import Document, Sample
from harness.metrics.suite import Measured
from harness.runner.session import Lab


@dataclass(frozen=True, slots=True)
class Compared:
    """What a worker's comparison came to, and all that was measured for it."""

    trial: AbTest
    records: tuple[Sample | Document, ...]


def compare(farm: Farm, lab: Lab, question: AbRequest) -> Compared:
    """Have it done by a worker that can run both sides; if that is lost, by another, from the start.

    Raises `HarnessError` if no farm answers or no worker can do it, and what the comparison raises.
    """
    question = replace(
        question,
        a=_said_anywhere(lab, question.cell, question.a),
        b=_said_anywhere(lab, question.cell, question.b),
    )
    cells = [cell_of(lab, lab.cell(question.cell), name) for name in (question.a, question.b)]
    orders = [order_of(lab, cell, question.run, farm.accelerator) for cell in cells]
    order = max(orders, key=lambda one: bool(one.checkout))
    needs = frozenset(orders[0].needs).union(orders[1].needs)
    with connect(farm.address, farm.tls) as client, heard(client):
        try:
            return RemoteCaller(client, needs).call(_compare, order, question)
        except NobodyError as error:
            why = lacking(lab, cells[1], needs, workers_of(client))
            raise HarnessError(f"The farm can't compare {cells[0]} with {cells[1]}: {why}.") from error


def _compare(order: CellRequest, question: AbRequest) -> Compared:
    lab, _ = lab_of(order)
    records: list[Sample | Document] = []

    def keep(measured: Measured) -> None:
        records.extend([*measured.samples, *measured.documents])

    done = run_ab_test(lab, question, keep)
    return Compared(done, (*records, done.document))


def _said_anywhere(lab: Lab, cell: str, name: str) -> str:
    """A side's name as every worker understands it. Raises `HarnessError` for a folder of this host."""
    if is_checkout(name):
        raise HarnessError(f"{Path(name)} is a folder of this host, and not of a farm's.", "Name a commit.")
    if is_commit(lab, lab.cell(cell), name):
        assert lab.osv_root
        return CommitClones(lab.osv_root, lab.cache).resolve(name)
    return name
