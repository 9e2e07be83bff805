"""An A/B test on a farm: one worker measures both sides, because numbers of two hosts may not be compared."""

from dataclasses import dataclass, replace
from pathlib import Path

from harness.analysis.ab.ab_test import AbRequest, AbTest, run_ab_test
from harness.analysis.ab.sides import cell_of, is_checkout, is_commit
from harness.core.errors import HarnessError
from harness.integrations.farm.capabilities import missing_capabilities
from harness.integrations.farm.dask_cluster import connect
from harness.integrations.farm.dispatcher import receiving_events, worker_capabilities
from harness.integrations.farm.messages import CellRequest
from harness.integrations.farm.rpc import NoWorkerError, RemoteCaller
from harness.integrations.farm.run import Farm, request_for
from harness.integrations.farm.worker import session_of
from harness.kernels.osv.clones import CommitClones
from harness.metrics.records import Document, Sample
from harness.metrics.suite import Measured
from harness.runner.session import Session


@dataclass(frozen=True, slots=True)
class FarmAbTest:
    """The result of a worker's A/B test, and everything that was measured for it."""

    ab_test: AbTest
    records: tuple[Sample | Document, ...]


def compare(farm: Farm, session: Session, ab_request: AbRequest) -> FarmAbTest:
    """Let a worker that can run both sides do the A/B test; if it is lost, another starts again.

    Raises `HarnessError` if no farm answers or no worker can do it, and what the A/B test raises.
    """
    ab_request = replace(
        ab_request,
        a=_portable_name(session, ab_request.cell, ab_request.a),
        b=_portable_name(session, ab_request.cell, ab_request.b),
    )
    cells = [cell_of(session, session.cell(ab_request.cell), name) for name in (ab_request.a, ab_request.b)]
    requests = [request_for(session, cell, ab_request.run, farm.accelerator) for cell in cells]
    request = max(requests, key=lambda one: bool(one.checkout))
    requirements = frozenset(requests[0].requirements).union(requests[1].requirements)
    with connect(farm.address, farm.tls) as client, receiving_events(client):
        try:
            return RemoteCaller(client, requirements).call(_compare, request, ab_request)
        except NoWorkerError as error:
            why = missing_capabilities(session, cells[1], requirements, worker_capabilities(client))
            raise HarnessError(f"The farm can't compare {cells[0]} with {cells[1]}: {why}.") from error


def _compare(request: CellRequest, ab_request: AbRequest) -> FarmAbTest:
    session, _ = session_of(request)
    records: list[Sample | Document] = []

    def keep(measured: Measured) -> None:
        records.extend([*measured.samples, *measured.documents])

    done = run_ab_test(session, ab_request, keep)
    return FarmAbTest(done, (*records, done.document))


def _portable_name(session: Session, cell: str, name: str) -> str:
    """A side's name as every worker understands it. Raises `HarnessError` for a folder of this host."""
    if is_checkout(name):
        raise HarnessError(f"{Path(name)} is a folder of this host, and not of a farm's.", "Name a commit.")
    if is_commit(session, session.cell(cell), name):
        assert session.osv_root
        return CommitClones(session.osv_root, session.cache).resolve(name)
    return name
