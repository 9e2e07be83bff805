"""One run on a farm: makes the cell requests, runs them, and stores the results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.host.availability import Availability, AvailabilityCheck, Support
from harness.integrations.farm.capabilities import checkout_digest, requirements
from harness.integrations.farm.dask_cluster import Tls, connect
from harness.integrations.farm.dispatcher import Dispatcher, NotRun, Plan
from harness.integrations.farm.messages import CellRequest, TaskResult
from harness.integrations.farm.result_sink import ResultSink
from harness.integrations.farm.reuse import FarmReuse
from harness.metrics.history.store import History
from harness.runner.session import Session
from harness.vm.registry import driver_names


@dataclass(frozen=True, slots=True)
class Farm:
    """The address of a farm, the TLS files of its members, and the accelerator that guests must have (or
    empty)."""

    address: str
    tls: Tls | None = None
    accelerator: str = ""


def run_on_farm(
    farm: Farm, session: Session, cells: Sequence[Cell], plan: Plan, run: str, history: History, runs: Path,
    reuse: FarmReuse | None = None,
) -> tuple[ResultSink, list[NotRun]]:  # fmt: skip
    """Carry out the plan for all cells. Returns what was stored in the history, and what was not run and why.

    `reuse` decides which tests are not run, for a verdict stands.
    Raises `HarnessError` if no farm answers, or if a cell's kernel is OSv's and no checkout is named.
    """
    refused = {cell: row for cell in cells if (row := _unsupported(session, cell))}
    requests = [request_for(session, cell, run, farm.accelerator) for cell in cells if cell not in refused]
    sink = ResultSink(history, run, runs)
    if reuse:
        requests = [replace(request, reuse=True) for request in requests]

    def store(answer: TaskResult) -> None:
        sink.store(answer)
        if reuse:
            reuse.check(answer)

    def last_host(request: CellRequest) -> str:
        latest = history.samples(cell=request.cell, last=1)
        return latest[0].environment.host if latest else ""

    with connect(farm.address, farm.tls) as client:
        split = reuse.split if reuse else None
        not_run = Dispatcher(client, session, plan, sink.known, store, split).run(requests, last_host)
    if reuse:
        history.add(reuse.documents())
    unsupported = [NotRun(str(cell), "", f"{row.support}: {row.reason}") for cell, row in refused.items()]
    return sink, not_run + unsupported


def _unsupported(session: Session, cell: Cell) -> Availability | None:
    """Why no worker could run the cell: it is invalid or has no driver. What hosts lack is asked of the
    workers."""
    found = AvailabilityCheck(session.matrix, session.host, driver_names(), session.osv_root).of(cell)
    return found if found.support in (Support.NOT_DRIVEN, Support.INVALID) else None


def request_for(session: Session, cell: Cell, run: str, accelerator: str) -> CellRequest:
    """The request for a cell. Raises `HostError` if its kernel is OSv's and no checkout is named."""
    checkout = ""
    if cell.kernel == "osv":
        if session.osv_root is None:
            raise HostError(f"{cell} has no checkout here that would say which OSv is meant.", "Set OSV_ROOT.")
        checkout = _digest(session.osv_root)
    return CellRequest(run, str(cell), requirements(session, cell, checkout, accelerator), checkout)


@cache
def _digest(root: Path) -> str:
    return checkout_digest(root)
