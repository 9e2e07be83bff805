"""A farm of real dask processes on loopback: who gets what, what a lost worker costs, who is let in."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from farm_processes import LONG, Process, farm, is_hypervisor, until

pytest.importorskip("distributed")

from harness.core.errors import HarnessError
from harness.host.host import ARCHES
from harness.integrations.farm.capabilities import capabilities, missing_capabilities, requirements
from harness.integrations.farm.dask_cluster import Tls, check_address, security, serve_worker
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.runner.session import Session

CELL = "linux:qemu-ramfs"
PATTERN = "stress-ng-c[ahl]*"
MEASURED = "size.kernel"


@pytest.fixture
def cell_runs() -> Session:
    """A lab on a host that can run the cell of these tests."""
    session = Session()
    try:
        session.check_runs(session.cell(CELL))
    except HarnessError as error:
        pytest.skip(f"{CELL} does not run here: {error}")
    return session


def test_a_run_survives_a_killed_worker_and_lands_once(cell_runs: Session, tmp_path: Path) -> None:
    """Three workers with different abilities; the one that runs a guest is killed; the others end its work."""
    session, cell = cell_runs, cell_runs.cell(CELL)
    session.runner(cell).prepare()
    wanted = {program.name for program in session.programs(cell) if fnmatchcase(program.name, PATTERN)}
    assert len(wanted) > 5
    history = tmp_path / "history.sqlite"
    other = next(arch for arch in ARCHES if arch != cell.arch)
    no_ones = session.cell(f"linux:{other}-qemu-ramfs")
    workers = {
        "one": [f"arch-{other}"],
        "two": [f"arch-{other}", "virtiofsd"],
        "three": [f"arch-{other}", f"arch-{cell.arch}"],
    }
    with farm(tmp_path, workers) as (address, scheduler, there):
        asked = (
            "farm", "run", CELL, str(no_ones), "--farm", address, "--only", "test", "--test", PATTERN,
            "--chunk", "2", "--run", "night", "--history", str(history), "--runs", str(tmp_path / "runs"),
        )  # fmt: skip
        night = Process(tmp_path / "night.txt", *asked)
        lost = until(lambda: next((one for one in there.values() if one.guests()), None), night)
        guests = lost.guests()
        assert night.popen.poll() is None
        lost.popen.kill()
        assert night.popen.wait(LONG) == 1, night.words.read_text()
        said = night.words.read_text()
        assert "farm.lost" in said
        assert f"not run: {no_ones}: no worker has arch-{other}" in said
        assert " by three " not in said
        verdicts = verdicts_in(history)
        assert Counter((row.cell, row.test) for row in verdicts) == Counter((str(cell), name) for name in wanted)
        assert not any(is_hypervisor(pid) for pid in guests)

        again = Process(tmp_path / "again.txt", *asked)
        assert again.popen.wait(LONG) == 1, again.words.read_text()
        assert "records by" not in again.words.read_text()
        assert verdicts_in(history) == verdicts

        scheduler.popen.terminate()
        for process in there.values():
            process.popen.wait(LONG)
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def verdicts_in(history: Path) -> list[VerdictRecord]:
    with History(history) as kept:
        return kept.judged(run="night")


def test_a_run_whose_scheduler_is_killed_says_so_and_keeps_what_came(cell_runs: Session, tmp_path: Path) -> None:
    """The scheduler ends while a worker's guest runs: the run says what is left, and goes on elsewhere."""
    cell_runs.runner(cell_runs.cell(CELL)).prepare()
    history = tmp_path / "history.sqlite"

    def asked(address: str, pattern: str) -> tuple[str, ...]:
        return (
            "farm", "run", CELL, "--farm", address, "--only", "test", "--test", pattern, "--chunk", "1",
            "--run", "night", "--history", str(history), "--runs", str(tmp_path / "runs"),
        )  # fmt: skip

    with farm(tmp_path, {"one": []}) as (address, scheduler, there):
        night = Process(tmp_path / "night.txt", *asked(address, "*"))
        until(lambda: history.exists() and verdicts_in(history), night)
        guests = until(there["one"].guests, night)
        scheduler.popen.kill()
        assert night.popen.wait(LONG) == 1, night.words.read_text()
        said = night.words.read_text()
        assert "Traceback" not in said
        assert re.search(r"not run: stress-ng-\S+ on \S+: the farm's scheduler ended", said)
        there["one"].popen.wait(LONG)
        assert not any(is_hypervisor(pid) for pid in guests)
    before = verdicts_in(history)
    assert before

    with farm(tmp_path, {"two": []}) as (address, _, _):
        night = Process(tmp_path / "again.txt", *asked(address, "stress-ng-ch*"))
        assert night.popen.wait(LONG) == 0, night.words.read_text()
    after = verdicts_in(history)
    assert len(after) > len(before)
    assert after[: len(before)] == before


BROKEN_QEMU = """#!/bin/sh
case "$*" in *"-incoming defer"*) echo 'no memory' >&2; exit 1 ;; esac
exec {real} "$@"
"""


def test_a_fault_of_a_host_is_tried_elsewhere(cell_runs: Session, tmp_path: Path) -> None:
    """One worker's QEMU ends whenever a guest is forked: what it fails, the other does; only that one's counts."""
    history, shims = tmp_path / "history.sqlite", tmp_path / "shims"
    shims.mkdir()
    real = shutil.which(f"qemu-system-{cell_runs.cell(CELL).arch}")
    assert real
    shim = shims / Path(real).name
    shim.write_text(BROKEN_QEMU.format(real=real))
    shim.chmod(0o755)
    paths = {"broken": f"{shims}:{os.environ['PATH']}"}
    with farm(tmp_path, {"whole": [], "broken": []}, paths=paths) as (address, _, _):
        asked = (
            "farm", "run", CELL, "--farm", address, "--only", "test", "--test", PATTERN, "--chunk", "1",
            "--run", "night", "--history", str(history), "--runs", str(tmp_path / "runs"),
        )  # fmt: skip
        night = Process(tmp_path / "night.txt", *asked)
        assert night.popen.wait(LONG) == 0, night.words.read_text()
    said = night.words.read_text()
    assert re.search(r"farm.faulted \S+ on \S+ by broken: QEMU did not start .*no memory", said), said
    assert "records by whole on " in said and "records by broken" not in said
    verdicts = verdicts_in(history)
    assert {row.outcome for row in verdicts} == {"passed"}
    assert max(Counter((row.cell, row.test) for row in verdicts).values()) == 1
    kept = list((tmp_path / "runs").rglob("*.try-1/fault.txt"))
    assert kept and all(path.read_text().startswith("broken on ") for path in kept)


ANYTHING_GOES = """
[[expect]]
cells = "linux:*"
tests = "*"
outcome = ["failed", "passed"]
reason = "so that no outcome of the test itself fails the run"
expires = 2099-01-01
"""


def test_what_ran_as_the_same_thing_is_reused_and_checked(
    cell_runs: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's history decides; workers say what they would run. A check that differs ends the run with 1."""
    histories = [tmp_path / f"{number}.sqlite" for number in range(2)]
    (tmp_path / "expectations.toml").write_text(ANYTHING_GOES)
    monkeypatch.setenv("OSV_HARNESS_PROJECT", str(tmp_path))
    with farm(tmp_path, {"one": []}) as (address, _, _):

        def night(name: str, history: Path, *options: str) -> tuple[int, str]:
            asked = (
                "farm", "run", CELL, "--farm", address, "--only", "test", "--test", PATTERN, "--run", name,
                "--history", str(history), "--runs", str(tmp_path / "runs"), *options,
            )  # fmt: skip
            run = Process(tmp_path / f"{name}.txt", *asked)
            return run.popen.wait(LONG), run.words.read_text()

        status, said = night("first", histories[0], "--reuse")
        with History(histories[0]) as history:
            first = history.judged(run="first")
        assert status == 0 and {one.outcome for one in first} == {"passed"}, said
        assert "" not in {one.reuse_key for one in first}
        status, said = night("second", histories[0], "--reuse", "--reuse-check", "0")
        with History(histories[0]) as history:
            second = history.judged(run="second")
            counted = history.documents("reuse", run="second")[0].body
        assert status == 0 and {one.outcome for one in second} == {"reused"}, said
        assert len(second) == len(first) and all("reused from first" in one.reason for one in second)
        assert counted == {"ran": 0, "reused": len(first), "checked": 0, "differed": {}}
        with History(histories[1]) as history:
            history.add([replace(first[0], outcome="failed", id="planted"), *first[1:]])
        status, said = night("third", histories[1], "--reuse", "--reuse-check", "100")
    with History(histories[1]) as history:
        third = history.judged(run="third")
        counted = history.documents("reuse", run="third")[0].body
    assert status == 1 and {one.outcome for one in third} == {"passed"}, said
    assert counted["checked"] == len(first) and list(counted["differed"]) == [first[0].test]
    assert "rule of reuse is broken" in said


def test_measurements_stay_on_the_host_that_has_measured_before(cell_runs: Session, tmp_path: Path) -> None:
    """A cell measured twice on a farm: each time all of it on one worker, with ids of its own."""
    history = tmp_path / "history.sqlite"
    with farm(tmp_path, {"one": [], "two": [f"host-{os.uname().nodename}"]}) as (address, _, _):
        for name in ("first", "second"):
            asked = (
                "farm", "run", CELL, "--farm", address, "--only", "perf", "--measure", "size", "--run", name,
                "--history", str(history),
            )  # fmt: skip
            run = Process(tmp_path / f"{name}.txt", *asked)
            assert run.popen.wait(LONG) == 0, run.words.read_text()
        assert re.search(r"records by one on ", run.words.read_text())
    with History(history) as kept:
        first, second = (kept.samples(run=name) for name in ("first", "second"))
    assert MEASURED in {one.metric.name for one in first}
    assert [(one.metric, one.value) for one in first] == [(one.metric, one.value) for one in second]
    assert not {one.id for one in first} & {one.id for one in second}


def test_a_comparison_is_one_workers_and_lands_in_the_history(cell_runs: Session, tmp_path: Path) -> None:
    """The kernel's own size, which no boot is needed for, on two filesystems: one is not the kernel's."""
    history = tmp_path / "history.sqlite"
    with farm(tmp_path, {"one": [], "none": ["debian-packages"]}) as (address, _, _):
        asked = (
            "compare", CELL, "linux:qemu-rofs", "--cell", CELL, "--metric", MEASURED, "--farm", address,
            "--history", str(history),
        )  # fmt: skip
        compared = Process(tmp_path / "compared.txt", *asked)
        assert compared.popen.wait(LONG) == 0, compared.words.read_text()
        folder = Process(tmp_path / "folder.txt", "compare", "nowhere", *asked[2:])
        assert folder.popen.wait(LONG) != 0 and "nowhere is no side" in folder.words.read_text()
    assert re.search(rf"{MEASURED}\s.*no change", compared.words.read_text())
    with History(history) as kept:
        samples, [document] = kept.samples(), kept.documents("comparison")
    sides = {one.cell: one.value for one in samples if one.metric.name == MEASURED}
    assert len(sides) == 2 and len(set(sides.values())) == 1
    assert document.body["judgements"][0]["decision"] == "unchanged"


def test_a_worker_says_what_a_cell_needs_unless_it_is_told_not_to(cell_runs: Session) -> None:
    cell = cell_runs.cell(CELL)
    wanted = requirements(cell_runs, cell, "")
    assert capabilities(cell_runs) >= set(wanted)
    less = capabilities(cell_runs, ["debian-packages"])
    why = missing_capabilities(cell_runs, cell, frozenset(wanted), {"one": less})
    assert why == "no worker has debian-packages (The linux kernel and its programs are Debian's packages.)"
    assert missing_capabilities(cell_runs, cell, frozenset(wanted), {}) == "the farm has no worker"
    halves = {"one": less, "two": capabilities(cell_runs, ["kernel-linux"])}
    assert missing_capabilities(cell_runs, cell, frozenset(wanted), halves).startswith(
        "no single worker has all of"
    )


def test_another_checkout_is_another_ability(cell_runs: Session) -> None:
    cell = cell_runs.cell(CELL)
    assert "osv-0123" in requirements(cell_runs, cell, "0123") and "osv-0123" not in capabilities(cell_runs)


def test_farms_listen_on_loopback_only(tmp_path: Path) -> None:
    """Neither the scheduler nor a worker can be reached from another host."""
    with farm(tmp_path, {"one": []}) as (_, scheduler, there):
        for process in (scheduler, there["one"]):
            assert set(listening(process.popen.pid)) == {"0100007F"}


def listening(pid: int) -> Iterator[str]:
    """The addresses, as the kernel writes them, at which the process listens. Source: proc(5), /proc/net/tcp."""
    ours = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            ours.add(str(link.readlink()))
    for row in [*Path("/proc/net/tcp").read_text().splitlines(), *Path("/proc/net/tcp6").read_text().splitlines()]:
        words = row.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in ours:
            yield words[1].partition(":")[0]


@pytest.mark.parametrize(
    "address", ["here", "tcp://", "tcp://host", "http://host:1", "tcp://host:x", "tls://host:1"]
)
def test_wrong_addresses_are_told(address: str) -> None:
    with pytest.raises(HarnessError):
        check_address(address, None)


def test_a_worker_on_loopback_is_no_use_to_a_farm_elsewhere() -> None:
    with pytest.raises(HarnessError, match="can't reach a worker"):
        serve_worker("tcp://192.0.2.1:1", "127.0.0.1", "one", (), Session().cache, None)


def test_tls_names_the_file_that_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(HarnessError, match=r"ca\.pem"):
        security(Tls(missing, missing, missing))


def test_a_farm_with_tls_lets_in_who_has_a_certificate(tmp_path: Path) -> None:
    """A worker with the farm's certificate joins; who has none is turned away before a word is exchanged."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, which makes the certificate")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=farm", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    files = ("--tls-ca", str(cert), "--tls-cert", str(cert), "--tls-key", str(key))
    with farm(tmp_path, {"one": []}, *files) as (address, _, _):
        assert address.startswith("tls://")
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        port = int(address.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            pytest.raises((ssl.SSLError, ConnectionError)),
            context.wrap_socket(plain) as line,
        ):
            assert not line.recv(1)
            raise ConnectionError("the scheduler closed the line")
