"""What can become of a guest, and its verdict: the table of `fault_rows`.

Rows of Linux run on guests everywhere. Rows of OSv run on guests where OSV_ROOT names a checkout; everywhere the
consoles that they left (`consoles/`) are judged again. `--record` records those anew.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fault_rows import ARCH, FAULTS, HANG, LINUX, NESTED, OSV, OSV_ROWS, PASSES, UNLOADED, WITH_FOUR, Row
from meddled import Meddled
from recording import Recorder, Recording, record, recordings, replay

from harness.core.cell import Cell
from harness.host.cache import Cache
from harness.report import evidence
from harness.runner.base import Program, Run
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv import runner, watching_tracer
from harness.runner.session import Session
from harness.vm.gdb_remote import GdbRemote


@pytest.fixture(scope="module")
def linux(session: Session) -> Cell:
    return session.cell(f"linux:{ARCH}-qemu-rofs-all")


@pytest.mark.parametrize("row", LINUX, ids=lambda row: row.situation)
def test_fault_on_linux(session: Session, linux: Cell, tmp_path: Path, row: Row) -> None:
    if row.arch and row.arch != ARCH:
        pytest.skip(f"{row.situation} is brought about by code of {row.arch}")
    program = Program(row.situation, row.command, row.limit, row.cpus, row.memory)
    runner = session.runner(linux)
    if row.outside:
        meddled = Meddled(row.outside)
        runner = LinuxRunner(session.image(linux), meddled, session.accelerator(linux), session.cache, 4)
    run = runner.run(program)
    if row.outside:
        meddled.assert_done()
    agree(run, row.outcome, row.reason)
    keep(run, session, linux, tmp_path, row.shows)


@pytest.mark.parametrize(("arch", "row"), OSV_ROWS, ids=lambda value: getattr(value, "situation", value))
def test_fault_on_osv(
    osv_with_faults: Callable[[str], Recorder], arch: str, row: Row, request: pytest.FixtureRequest
) -> None:
    runner = osv_with_faults(arch)
    if arch == "x86_64" and runner.accelerator == "kvm":
        run = run_with_four(runner, row)
    else:
        run = runner.run(Program(row.situation, command_of(row), row.limit, row.cpus, row.memory))
        agree(run, row.outcome, row.reason)
    if row.shows:
        assert row.shows.encode() in run.transcript.raw
    if request.config.getoption("--record"):
        expected = {
            "outcome": row.outcome, "reason": row.reason,
            "console_only": row.console_only or row.outcome, "because": row.because,
        }  # fmt: skip
        record(name_of(arch, row), row.situation, runner.image.cell, run, runner.tracer, expected)


def command_of(row: Row) -> str:
    """A command line of OSv's, or what our own program is told to do."""
    return row.command if row.command.startswith(("/", "--")) else f"{FAULTS} {row.command}"


def run_with_four(runner: Recorder, row: Row) -> Run:
    """The run, whose verdict is the expected one where four breakpoints are all that there are."""
    command = command_of(row)
    # The kernel that can't read its words never halts, and nothing tells of its abort before the limit.
    limit = HANG if command.startswith(UNLOADED) else row.limit
    run = runner.run(Program(row.situation, command, limit, row.cpus, row.memory))
    agree(run, *WITH_FOUR.get(row.command, (row.outcome, row.reason)))
    return run


@pytest.mark.parametrize("row", [row for row in OSV if row.arch in ("", "x86_64")], ids=lambda row: row.situation)
def test_fault_on_osv_with_the_four_breakpoints_of_hardware(
    osv_with_faults: Callable[[str], Recorder], row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under KVM on x86_64: a fifth is refused. What then can't be known is in `WITH_FOUR`."""
    held: set[int] = set()
    refused: list[int] = []
    really, back = GdbRemote.set_breakpoint, GdbRemote.clear_breakpoint

    def set_one_of_four(stub: GdbRemote, address: int) -> bool:
        if len(held) == 4:
            refused.append(address)
            return False
        held.add(address)
        return really(stub, address)

    def give_back(stub: GdbRemote, address: int) -> None:
        held.discard(address)
        back(stub, address)

    monkeypatch.setattr(runner, "can_watch", lambda symbols: False)  # KVM's breakpoints cost nothing
    monkeypatch.setattr(GdbRemote, "set_breakpoint", set_one_of_four)
    monkeypatch.setattr(GdbRemote, "clear_breakpoint", give_back)
    run = run_with_four(osv_with_faults("x86_64"), row)
    assert refused or not run.verdict.observation.booted


@pytest.mark.parametrize("row", [row for row in OSV if row.command in ("exit 3", f"{NESTED} return 3 0")], ids=str)
def test_fault_on_osv_whose_log_is_too_long_to_watch(
    osv_with_faults: Callable[[str], Recorder], row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first line that tells nothing, breakpoints take the place of watchpoints."""
    monkeypatch.setattr(watching_tracer, "MOST_STOPS", 1)
    runner = osv_with_faults("x86_64")
    run = runner.run(Program(row.situation, command_of(row), row.limit, row.cpus, row.memory))
    agree(run, row.outcome, row.reason)
    assert isinstance(runner.tracer, watching_tracer.WatchingTracer) and not runner.tracer.watches_data


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_halt_of_one_of_two_vcpus_is_seen(osv_with_faults: Callable[[str], Recorder], arch: str) -> None:
    """Nothing announces it, and the debug stub may stand at the other."""
    (row,) = (row for row in OSV if row.command == "halt")
    run = osv_with_faults(arch).run(Program(row.situation, command_of(row), row.limit, 2, row.memory))
    agree(run, row.outcome, row.reason)


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
def test_recorded_fault(recording: Recording, tmp_path: Path) -> None:
    agree(replay(recording, Cache(tmp_path), witnessed=True), recording.outcome, recording.reason)


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
def test_recorded_fault_where_only_the_console_is_known(recording: Recording, tmp_path: Path) -> None:
    agree(replay(recording, Cache(tmp_path), witnessed=False), recording.console_only, "")


def test_a_program_that_ended_was_started_whatever_tore_the_line_of_its_start(tmp_path: Path) -> None:
    (whole,) = [one for one in recordings() if one.name == "pass.x86_64"]
    torn = replace(whole, torn=(b"\nCmdline: ", b"\nhalf a line of another thread's Cmdline: "))
    assert torn.console != whole.console
    agree(replay(torn, Cache(tmp_path), witnessed=True), "passed", PASSES)
    agree(replay(torn, Cache(tmp_path), witnessed=False), "boot_failed", "")


def test_every_row_is_recorded_as_it_is_expected() -> None:
    """The index has what the table has; only hosts with OSv could tell otherwise."""
    index = {row.name: (row.situation, row.outcome, row.reason) for row in recordings()}
    table = {name_of(arch, row): (row.situation, row.outcome, row.reason) for arch, row in OSV_ROWS}
    assert index == table


def name_of(arch: str, row: Row) -> str:
    """What a row's recording is called: `abort.x86_64`."""
    words = re.sub(r"/\S*/(?:fault\.so )?", "", row.command).replace("&!", "detached").replace("&", "beside")
    return f"{words.replace(';', ' then').strip('- ').replace(' ', '-')}.{arch}"


def agree(run: Run, outcome: str, reason: str) -> None:
    """The verdict is the expected one."""
    verdict = run.verdict
    shown = "\n".join(line.text for line in verdict.lines)
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), f"{verdict.reason}\n{shown}"


def keep(run: Run, session: Session, cell: Cell, folder: Path, shows: str) -> None:
    """Evidence can be written of every run; what is shown of it is plain text of bearable length."""
    where = evidence.write(run, session.image(cell), session.accelerator(cell), folder, "again")
    assert (where / "console.raw").read_bytes() == run.transcript.raw
    assert shows in (where / "console.txt").read_text().replace("\n", " ") or shows in str(run.verdict.lines)
    for line in run.verdict.lines:
        assert all(char.isprintable() or char in "\t" or char.isspace() for char in line.text)
        assert len(line.text) < 2100
