"""Decides a bisection again from its journal, without building or booting, to check the answer."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from harness.analysis.bisect.answer import Answer
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.journal_records import Booted, Checked, Failed, Finished, Opened, Planned, Record
from harness.analysis.bisect.model import Broken, Build, Built, Failure
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import checks_of
from harness.core.errors import HarnessError


class RecordedBuilder:
    """A `Builder` that returns the builds and boots of a journal, in their order."""

    cached: Collection[Build] = ()

    def __init__(self, records: Sequence[Record], layouts: int) -> None:
        self.layouts = layouts
        self._outcomes: dict[Build, Built | Broken] = {}
        boots: dict[Build, list[float | Failure]] = defaultdict(list)
        for record in records:
            if isinstance(record, Finished):
                self._outcomes[record.key] = record.built
            elif isinstance(record, Failed) and record.key not in self._outcomes:
                self._outcomes[record.key] = Broken(record.why)
            elif isinstance(record, Booted):
                boots[record.key].append(Failure(record.cause) if record.cause else record.value)
        self._boots: dict[Build, Iterator[float | Failure]] = {key: iter(values) for key, values in boots.items()}
        self._unbootable = {one.key: one.why for one in records if isinstance(one, Failed)}

    def build(self, key: Build) -> Built | Broken:
        """The recorded result. Raises `HarnessError` if the journal has none."""
        if key not in self._outcomes:
            raise _too_short(f"commit {key.index} of the line, layout {key.layout}, was not built")
        return self._outcomes[key]

    def boot(self, key: Build) -> float | Failure | Broken:
        """The next recorded boot of the build."""
        value = next(self._boots.get(key, iter(())), None)
        if value is None and key in self._unbootable:
            return Broken(self._unbootable[key])
        if value is None:
            raise _too_short(f"commit {key.index} of the line was not booted as often as it would be now")
        return value


def replay_journal(records: Sequence[Record]) -> Answer:
    """The answer that today's rules give for the numbers of a journal.

    Raises `HarnessError` if the numbers are not enough: the bisection has not ended, or would have gone on
    differently.
    """
    opened = records[0]
    assert isinstance(opened, Opened)
    checked = {one.name for one in records if isinstance(one, Checked)}
    journal = MemoryJournal()
    recorded = RecordedBuilder(records, opened.layouts)
    bisection = Bisection(opened.line, opened.measure, recorded, journal, opened.effort, load=opened.known_load)
    answer = bisection.run([(name, check) for name, check in checks_of(opened.measure) if name in checked])
    before = [one.plan for one in records if isinstance(one, Planned)]
    if before != [one.plan for one in journal.records if isinstance(one, Planned)]:
        raise HarnessError(
            "Decided again, other builds would have been made.", "Its numbers are as they are: bisect anew."
        )
    return answer


def _too_short(what: str) -> HarnessError:
    return HarnessError(f"The journal can't be replayed: {what}.", "Go on with it: --resume.")
