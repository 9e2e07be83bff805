"""Which lines race: in records made by hand, and in real guests."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from racing_program import LOSING, RACE, SOURCE

from harness.analysis.hunt.conflicts import Conflict, conflicts
from harness.analysis.hunt.racing_lines import racing_lines
from harness.analysis.hunt.seed import seeded
from harness.analysis.hunt.traced import traced_to_end, traced_until
from harness.analysis.hunt.writes import Memory, writes
from harness.cli import main
from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.host.cache import Cache
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.qemu.plugin.compiler import INTERFACES, compiled
from harness.vm.qemu.plugin.trace import RECORD, REST, Kind, Records

PROGRAM = seeded(RACE, Schedule.parse(LOSING))

SHARED, OTHER = 0x1000, 0x2000
Row = tuple[int, str, int, int]


def recorded(*rows: Row) -> Records:
    """Records of a thread, a verb, an address and an instruction; a program's thread that `stops` is stopped."""
    kinds = {"reads": Kind.LOADED, "writes": Kind.STORED, "stops": Kind.LEFT, "waits": Kind.LEFT}
    found = np.zeros(len(rows), RECORD)
    for number, (thread, verb, address, pc) in enumerate(rows):
        flow = REST if verb == "waits" else 0
        found[number] = (number, pc, address, kinds[verb], thread, 1, flow, thread, 0)
    return found


def places(found: Sequence[Conflict]) -> list[tuple[int, ...]]:
    return [one.places for one in found]


def test_a_lost_update_is_a_conflict() -> None:
    """Thread 1 read before, and wrote after, what thread 2 wrote meanwhile."""
    second: list[Row] = [(2, "reads", SHARED, 21), (2, "writes", SHARED, 22)]
    found = conflicts(recorded((1, "reads", SHARED, 11), *second, (1, "writes", SHARED, 12)))
    assert places(found) == [(11, 22, 12)]


def test_what_only_reads_is_none() -> None:
    rows = [(thread, "reads", SHARED, thread) for thread in (1, 2, 1, 2, 1)]
    assert conflicts(recorded(*rows)) == []


def test_a_thread_that_polls_is_none() -> None:
    """It reads at the same place until another has written."""
    assert conflicts(recorded((1, "reads", SHARED, 11), (2, "writes", SHARED, 21), (1, "reads", SHARED, 11))) == []


@pytest.mark.parametrize(("verb", "expected"), [("stops", [(11, 21)]), ("waits", [])])
def test_a_thread_that_was_stopped_need_not_come_back(verb: str, expected: list[tuple[int, ...]]) -> None:
    """What it read was written while it stood. One that waits by itself has come to the end of what it did."""
    first: list[Row] = [(1, "reads", SHARED, 11), (1, verb, 0, 12)]
    found = conflicts(recorded(*first, (2, "writes", SHARED, 21), (1, "reads", OTHER, 13)))
    assert places(found) == expected


def test_what_was_written_after_a_thread_went_on_is_none() -> None:
    first: list[Row] = [(1, "reads", SHARED, 11), (1, "stops", 0, 12), (1, "reads", OTHER, 13)]
    assert conflicts(recorded(*first, (2, "writes", SHARED, 21))) == []


def test_the_rarest_conflict_is_the_first() -> None:
    often: list[Row] = [(1, "reads", SHARED, 11), (2, "writes", SHARED, 21), (1, "writes", SHARED, 12)]
    once: list[Row] = [(1, "reads", OTHER, 13), (2, "writes", OTHER, 23), (1, "writes", OTHER, 14)]
    found = conflicts(recorded(*often, *once, *often, *often))
    assert [(one.places, one.times) for one in found if one.address == OTHER] == [((13, 23, 14), 1)]
    assert found[0].address == OTHER and found[-1].times == 3


@pytest.mark.parametrize("name", ["trace", "turns"])
@pytest.mark.parametrize("qemu", [oldest for oldest, _ in INTERFACES], ids=str)
def test_a_plugin_compiles_for_each_interface(qemu: tuple[int, ...], name: str, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    assert compiled(name, Cache(tmp_path), qemu).is_file()


@pytest.mark.parametrize("text", ["", "100", "0x", "0x10+", "0x10+0", "main"])
def test_what_is_no_memory_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    if text:
        assert main(["replay", "osv:qemu-ramfs/tst-a.so@2c3s0p", "--writes", text]) == 2
        assert "is no memory of a guest" in capsys.readouterr().err


def test_the_lines_of_a_lost_update_are_told(session: Session, racing: Image) -> None:
    """The first conflict in short is one thread's read and write of `sum`, and another's write in between."""
    run = session.run_on(racing, PROGRAM)
    assert run.verdict.outcome is Outcome.FAILED, bytes(run.transcript.raw)
    told = racing_lines(session, racing, PROGRAM, run)
    number = SOURCE.read_text().splitlines().index("        sum = sum + 1;") + 1
    line = rf"in add \(\S*race\.c:{number}\)"
    expected = rf"thread (\d+) read {line}; thread (?!\1)\d+ wrote {line}; thread \1 wrote {line}"
    assert any(re.match(expected, one) for one in told.short), told.short
    assert re.search(rf"vCPU \d left thread \d+ \([^)]*\) {line}\n +called from ", told.text), told.text
    assert told.instructions > 1_000_000


def test_another_run_tells_no_lines(session: Session, racing: Image) -> None:
    """The traced run must be the one that failed."""
    other = seeded(Program("race", "/race.so", 60), Schedule.parse("2c5s46t9p"))
    run = session.run_on(racing, other)
    assert "its console was another" in racing_lines(session, racing, PROGRAM, run).text


def test_a_guest_is_stopped_at_a_write(session: Session, racing: Image) -> None:
    """Two runs to one count stand in the same place, with all vCPUs; what was written there is told with its
    line."""
    with traced_to_end(session, racing, PROGRAM) as guest:
        (program,) = (one for one in guest.objects if one.path == PROGRAM.command)
        own = (guest.records["pc"] >= program.base) & (guest.records["pc"] < program.end)
        stores = guest.records[own & (guest.records["kind"] == Kind.STORED)]
    addresses, times = np.unique(stores["address"], return_counts=True)
    address = int(addresses[times.argmax()])  # of the sum
    count = int(stores[stores["address"] == address]["count"][-1])
    stood = []
    for _ in range(2):
        with traced_until(session, racing, PROGRAM, count) as guest:
            assert guest.head.held - count < 500
            stood.append((guest.head.held, guest.guest.vm.registers()))
    assert stood[0] == stood[1]
    said = list(writes(session, racing, PROGRAM, Memory(address)))
    assert re.match(rf"Writes to 8 bytes at {address:#x}, the last first", said[0])
    assert re.match(r"[\d,]+: vCPU \d, thread \d+ wrote 8 bytes at \S+ in add \(\S*race\.c:\d+\)", said[1]), said
