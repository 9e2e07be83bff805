"""The backend of a bisection on a farm: any worker builds; boots happen where the numbers are comparable."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from distributed import Client

from harness.analysis.bisect.history_document import Difference
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.local_backend import LAYOUTS
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Kind, Measure
from harness.analysis.bisect.run import BackendFactory, BisectRequest
from harness.core.errors import HostError
from harness.core.events import publish
from harness.integrations.farm import bisect_worker
from harness.integrations.farm.bisect_worker import BisectTask, WorkerBuild
from harness.integrations.farm.capabilities import HOST, TOOLS, missing_capabilities
from harness.integrations.farm.dask_cluster import connect
from harness.integrations.farm.dispatcher import plain, receiving_events, worker_capabilities
from harness.integrations.farm.rpc import RemoteCaller, this_location
from harness.integrations.farm.run import Farm, request_for
from harness.metrics.records import Sample
from harness.runner.session import Session

RESUME = "Go on with --resume once it is there again, or begin anew with another --state."


@contextmanager
def farm_backends(farm: Farm, session: Session) -> Iterator[BackendFactory]:
    """Make backends that work on the farm inside the block. Raises `HarnessError` if no farm answers."""
    with connect(farm.address, farm.tls) as client, receiving_events(client):
        yield lambda request, opened: FarmBackend(client, farm, session, request, opened)


class FarmBackend:
    """A `BuildBackend` of workers with the same checkout, the same tools and the same QEMU.

    Numbers without noise are booted where they were built. All others are booted on one host, `host`, which gets
    the artifacts that other hosts built.
    """

    def __init__(
        self, client: Client, farm: Farm, session: Session, request: BisectRequest, opened: Opened | None
    ) -> None:
        """Raises `HostError` if the farm has no worker for it, or not the host that the journal names."""
        self._client, self._session, self._request = client, session, request
        self.host = opened.host if opened else ""
        cell_request = request_for(session, request.cell, request.run, farm.accelerator)
        commits = request.commits
        self._task = BisectTask(
            cell_request,
            commits.good,
            commits.bad,
            request.metric,
            request.test,
            request.duration,
            request.through,
        )
        requirements = {*cell_request.requirements, *self._at(self.host)}
        tools = self._most_common(requirements, f"{TOOLS}{request.cell.arch}-")
        host = self._most_common({*requirements, tools}, HOST).removeprefix(HOST)
        self._caller = RemoteCaller(client, {*cell_request.requirements, tools}, RESUME)
        self._boot_location = self._caller.call(this_location, extra=self._at(host))
        self._built: dict[Build, WorkerBuild] = {}
        self.layouts = 1
        self.samples: dict[Build, list[Sample]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """The builds that this session has made."""
        return self._built.keys()

    def measure(self) -> Measure:
        """What is measured, as a boot of the good end shows."""
        if self._request.test:
            return Measure.test(self._request.test)
        return self._caller.call(
            bisect_worker.measure,
            self._task,
            extra=self._at(self._boot_location.host),
            workers=[self._boot_location.worker],
        )

    def offer_layouts(self, measure: Measure) -> None:
        """Offer layouts if they move the measure. A measure with noise is booted on one host."""
        self.layouts = LAYOUTS if measure.layout and not self._request.through else 1
        self.host = "" if measure.kind is Kind.EXACT else self._boot_location.host

    def build(self, key: Build) -> Built | Broken:
        """Build on any worker, and send the artifacts if the boot happens elsewhere."""
        near = (
            [self._boot_location.worker] if key == Build(0) else []
        )  # the good end was built there to be measured
        built = self._caller.call(bisect_worker.build, self._task, key, workers=near)
        self._built[key] = built
        here = self._boot_location
        if self.host and built.entries and (built.location.host, built.location.cache) != (here.host, here.cache):
            self._send_artifacts(built)
        return built.result

    def boot(self, key: Build) -> float | Failure | Broken:
        """Boot it once, on the one host or where it was built."""
        built = self._built.get(key)
        near = [built.location.worker] if built and not self.host else []
        read = self._caller.call(bisect_worker.boot, self._task, key, extra=self._at(self.host), workers=near)
        self.samples.setdefault(key, []).extend(read.samples)
        return read.value

    def differences(self, before: Build, after: Build) -> Sequence[Difference]:
        """What differs between two builds, as found by one worker that boots both."""
        if self._request.test:
            return []
        return self._caller.call(bisect_worker.differences, self._task, before, after, extra=self._at(self.host))

    def _send_artifacts(self, built: WorkerBuild) -> None:
        """Send the artifacts to the host that boots. If that fails, that host builds again when it boots."""
        archive = self._caller.submit(
            bisect_worker.export_artifacts, built.entries, workers=[built.location.worker]
        )
        try:
            self._caller.submit(
                bisect_worker.import_artifacts, archive, extra=self._at(self._boot_location.host)
            ).result()
        except Exception as error:  # a lost worker or a full disk costs only time
            publish("farm.not_handed_over", built.location.worker, plain(f"{type(error).__name__}: {error}"))

    def _most_common(self, extra: Collection[str], begins: str) -> str:
        """The capability with this prefix that most of the suitable workers have. Raises `HostError` if none has
        one."""
        there = worker_capabilities(self._client)
        capable_workers = [capabilities for capabilities in there.values() if capabilities.issuperset(extra)]
        counts = Counter(
            word for capabilities in capable_workers for word in sorted(capabilities) if word.startswith(begins)
        )
        if not counts:
            why = missing_capabilities(self._session, self._request.cell, frozenset(extra), there)
            raise HostError(f"The farm can't bisect on {self._request.cell}: {why}.", RESUME)
        return counts.most_common(1)[0][0]

    def _at(self, host: str) -> Collection[str]:
        return (f"{HOST}{host}",) if host else ()
