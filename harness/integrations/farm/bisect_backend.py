"""A bisection's bench on a farm: any worker builds candidates; they are booted where numbers compare."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from distributed import Client

from harness.analysis.bisect.history_document import Difference
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.local_backend import LAYOUTS
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Kind, Measure
from harness.analysis.bisect.run import Benches, Question
from harness.core.errors import HostError
from harness.core.events import publish
from harness.integrations.farm import bisect_worker
from harness.integrations.farm.bisect_worker import Asked, Made
from harness.integrations.farm.capabilities import HOST, TOOLS, lacking
from harness.integrations.farm.dask_cluster import connect
from harness.integrations.farm.dispatcher import heard, plain, workers_of
from harness.integrations.farm.rpc import RemoteCaller, place
from harness.integrations.farm.run import Farm, order_of
from harness.metrics.records import Sample
from harness.runner.session import Lab

RESUME = "Go on with --resume once it is there again, or begin anew with another --state."


@contextmanager
def benches_of(farm: Farm, lab: Lab) -> Iterator[Benches]:
    """Benches whose work is the farm's inside the block. Raises `HarnessError` if no farm answers."""
    with connect(farm.address, farm.tls) as client, heard(client):
        yield lambda question, opened: FarmBench(client, farm, lab, question, opened)


class FarmBench:
    """A `Bench` of workers that have the same checkout, the same tools and the same QEMU.

    Numbers without noise are booted where they were built. All others are booted on one host, `host`: what other
    hosts built is handed over to it.
    """

    def __init__(self, client: Client, farm: Farm, lab: Lab, question: Question, opened: Opened | None) -> None:
        """Raises `HostError` where the farm has no worker for it, or not the host that the journal names."""
        self._client, self._lab, self._question = client, lab, question
        self.host = opened.host if opened else ""
        order = order_of(lab, question.cell, question.run, farm.accelerator)
        commits = question.commits
        self._asked = Asked(
            order, commits.good, commits.bad, question.metric, question.test, question.duration, question.through
        )
        needs = {*order.needs, *self._at(self.host)}
        tools = self._most(needs, f"{TOOLS}{question.cell.arch}-")
        host = self._most({*needs, tools}, HOST).removeprefix(HOST)
        self._caller = RemoteCaller(client, {*order.needs, tools}, RESUME)
        self._home = self._caller.call(place, wanted=self._at(host))
        self._made: dict[Build, Made] = {}
        self.layouts = 1
        self.samples: dict[Build, list[Sample]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """Those that this session has built."""
        return self._made.keys()

    def measure(self) -> Measure:
        """What is measured, as a boot of the good end tells."""
        if self._question.test:
            return Measure.test(self._question.test)
        return self._caller.call(
            bisect_worker.measure, self._asked, wanted=self._at(self._home.host), workers=[self._home.worker]
        )

    def lay_out(self, measure: Measure) -> None:
        """Offer layouts where the measure is one that they move; boot on one host what has noise."""
        self.layouts = LAYOUTS if measure.layout and not self._question.through else 1
        self.host = "" if measure.kind is Kind.EXACT else self._home.host

    def build(self, key: Build) -> Built | Broken:
        """Build it on any worker, and hand it over where it is to be booted elsewhere."""
        near = [self._home.worker] if key == Build(0) else []  # which was built there to be measured
        made = self._caller.call(bisect_worker.build, self._asked, key, workers=near)
        self._made[key] = made
        here = self._home
        if self.host and made.entries and (made.place.host, made.place.cache) != (here.host, here.cache):
            self._hand_over(made)
        return made.result

    def boot(self, key: Build) -> float | Failure | Broken:
        """Boot it once on the one host, or where it was built."""
        made = self._made.get(key)
        near = [made.place.worker] if made and not self.host else []
        read = self._caller.call(bisect_worker.boot, self._asked, key, wanted=self._at(self.host), workers=near)
        self.samples.setdefault(key, []).extend(read.samples)
        return read.value

    def differences(self, before: Build, after: Build) -> Sequence[Difference]:
        """What differs between two builds, as one worker sees it that boots both."""
        if self._question.test:
            return []
        return self._caller.call(bisect_worker.differences, self._asked, before, after, wanted=self._at(self.host))

    def _hand_over(self, made: Made) -> None:
        """Bring what was built to the host that boots; where that fails, it is built there when it is booted."""
        packed = self._caller.submit(bisect_worker.hand_over, made.entries, workers=[made.place.worker])
        try:
            self._caller.submit(bisect_worker.take_over, packed, wanted=self._at(self._home.host)).result()
        except Exception as error:  # a lost worker, a full disk: nothing is lost but time
            publish("farm.not_handed_over", made.place.worker, plain(f"{type(error).__name__}: {error}"))

    def _most(self, wanted: Collection[str], begins: str) -> str:
        """The word that most of the workers say that have all that is wanted, of those that begin so. Raises
        `HostError` where there is none."""
        there = workers_of(self._client)
        able = [abilities for abilities in there.values() if abilities.issuperset(wanted)]
        words = Counter(word for abilities in able for word in sorted(abilities) if word.startswith(begins))
        if not words:
            why = lacking(self._lab, self._question.cell, frozenset(wanted), there)
            raise HostError(f"The farm can't bisect on {self._question.cell}: {why}.", RESUME)
        return words.most_common(1)[0][0]

    def _at(self, host: str) -> Collection[str]:
        return (f"{HOST}{host}",) if host else ()
