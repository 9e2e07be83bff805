"""The command line: tables and JSON for people and machines, errors without tracebacks."""

import json
import os
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.commands.cache import size
from harness.cli.commands.test import chosen
from harness.core.errors import HarnessError
from harness.host.cache import Cache
from harness.host.host import Host
from harness.kernels.osv.checkout import LANDMARKS
from harness.runner.session import Session


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An x86_64 host that names no checkout, with a cache of its own."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("OSV_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OSV_ROOT", raising=False)


def test_a_wrong_cell_ends_with_the_nearest_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "qemu-rosf"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "There is no cell 'qemu-rosf': 'rosf' is no value of any axis.\nDid you mean qemu-rofs?\n"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["matrix", "--set", "nihgtly"], "nightly"),
        (["matrix", "--kernel", "lunix"], "linux"),
        (["matrix", "*-zfs+opnzfs"], "openzfs"),
        (["matrix", "pdp11-*"], "osv-harness matrix"),
        (["cache", "gc", "--limit", "lots"], "10G"),
    ],
)
def test_other_slips_end_with_a_cure_too(
    arguments: list[str], nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert nearest in said.splitlines()[1]
    assert "Traceback" not in said


def test_the_summary_names_what_runs_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix"]) == 0
    said = capsys.readouterr().out
    assert "Cells of linux" in said
    assert "x86_64   qemu" in said
    for heading in ("runs here: ", "can't run on this host: ", "not driven yet: ", "invalid: "):
        assert heading in said
    assert "{" not in said


@pytest.mark.parametrize(
    ("name", "standing", "reason"),
    [
        ("linux:qemu-zfs", "invalid", "no ZFS"),
        ("osv:qemu-rofs", "can't run on this host", "OSV_ROOT"),
    ],
)
def test_json_gives_each_cells_standing_and_reason(
    name: str, standing: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["matrix", "--format", "json", name]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["standing"] == standing
    assert reason in row["reason"]
    assert row["name"].startswith(name.split("-")[0].replace(":", ":x86_64-"))


def test_a_cell_that_needs_kvm_says_so_on_a_host_without_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.host.accelerator_probe.KVM", tmp_path / "none")
    for name in (*LANDMARKS, ".git/HEAD"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    asked = ["--osv-root", str(tmp_path), "--format", "json", "qemu-rofs-virtio-pci", "qemu-rofs"]
    assert main(["matrix", *asked]) == 0
    needy, plain = json.loads(capsys.readouterr().out)
    host = Host()  # one that builds no OSv lacks more than KVM
    has_lab = all(host.capability(name).present for name in ("lab-x86_64", "osv-build", "osv-compiler-x86_64"))
    assert needy["standing"] == ("runs in the lab" if has_lab else "can't run on this host")
    assert ("osv-harness lab" in needy["reason"]) == has_lab
    assert "no HPET" in needy["reason"]
    assert "there is no /dev/kvm" in needy["reason"]
    assert "HPET" not in plain["reason"]


def test_json_of_everything_has_every_combination_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--kernel", "osv", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len({row["name"] for row in rows}) == len(rows) == 2 * 12 * 7 * 12
    assert all(row["reason"] for row in rows if row["standing"] != "runs here")


def test_patterns_choose_cells_by_short_and_by_full_names(capsys: pytest.CaptureFixture[str]) -> None:
    def names(*arguments: str) -> set[str]:
        assert main(["matrix", "--format", "json", *arguments]) == 0
        return {row["name"] for row in json.loads(capsys.readouterr().out)}

    assert names("qemu-r?fs", "linux:aarch64-qemu-ramfs") == {
        "linux:x86_64-qemu-rofs-all", "linux:aarch64-qemu-ramfs-all",
    }  # fmt: skip
    assert len(names("osv:aarch64-qemu-zfs-*")) == 12
    assert names("osv:qemu-?fs+openzfs+debug") == {"osv:x86_64-qemu-zfs-all+debug+openzfs"}


def test_the_github_matrix_has_what_is_valid_and_driven(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--kernel", "osv", "--set", "nightly", "--format", "github"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 1
    jobs = {job["cell"]: job for job in json.loads(said)["include"]}
    assert jobs["osv:aarch64-qemu-rofs-all+debug"]["arch"] == "aarch64"
    assert jobs["osv:aarch64-qemu-rofs-all+debug"]["name"] == "aarch64-qemu-rofs+debug"
    assert {"osv:x86_64-qemu-virtiofs-all", "osv:aarch64-qemu-rofs-nvme"} <= set(jobs)


def test_doctor_fails_where_something_required_is_lacking(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "lack qemu-x86_64" in said
    assert "doctor --install" in said


def test_doctor_tells_machines_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--format", "json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert status == int(any(row["required"] and not row["present"] for row in rows.values()))
    assert rows["tcg-x86_64"]["found"].startswith("a tiny guest answered")
    assert rows["cpus"]["found"] == str(len(os.sched_getaffinity(0)))


def test_the_cache_is_listed_and_emptied(capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache()
    for name in ("one", "two"):
        cache.get("thing", {"name": name}, lambda out: (out / "file").write_bytes(bytes(1 << 16)) and None)
    assert main(["cache", "ls"]) == 0
    said = capsys.readouterr().out
    assert said.count("thing ") == 2
    assert f"2 artefacts, 128 KiB in {cache.root}" in said.replace("\n", " ")
    assert main(["cache", "gc", "--limit", "100K"]) == 0
    assert capsys.readouterr().out == "1 artefact, 64 KiB removed\n"
    assert [entry.kind for entry in cache.entries()] == ["thing"]
    assert main(["cache", "gc", "--limit", "10"]) == 2
    assert "--limit 10G, or add --yes" in capsys.readouterr().err
    assert [entry.kind for entry in cache.entries()] == ["thing"]
    assert main(["cache", "gc", "--limit", "10", "--yes"]) == 0
    assert cache.entries() == []
    assert main(["cache", "gc", "--limit", "0"]) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("10G", 10 << 30), ("1.5k", 1536), ("500M", 500 << 20), ("2 ", 2), ("3GiB", 3 << 30)],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1", "10X", "1e9"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(HarnessError):
        size(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["marix"], "matrix"), (["tset", "qemu-rofs"], "test"),
        (["boot", "linux:qemu-rofs", "--cpus", "0", "--", "true"], "from 1 on"),
        (["app", "run", "hello", "--duration", "0"], "above 0"),
        (["perf", "qemu-ramfs", "--duration", "nan"], "above 0"),
        (["perf", "linux:qemu-rofs", "linux:qemu-ramfs", "--only", "size", "--only", "boot-csot"], "boot-cost"),
        (["matrix", "qemu-rosf*"], "qemu-rofs"),
        (["boot", "linux:qemu-rofs", "sh", "-c", "exit 3", "--cpus", "2"],
         "osv-harness boot linux:qemu-rofs --cpus 2 -- sh -c 'exit 3'"),
        (["lab", "test", "qemu-rofs"], "osv-harness lab -- test qemu-rofs"),
        (["boot", "linux:qemu-rofs", "--nonsense"], "No such option '--nonsense'"),
    ],
)  # fmt: skip
def test_a_slip_of_the_command_line_is_said_at_once(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main(words) == 2
    except SystemExit as error:
        assert error.code == 2
    assert said in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code and capsys.readouterr().out.startswith("osv-harness ")


def test_tests_are_chosen_by_patterns_each_once(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    names = [program.name for program in chosen(session, cell, ["stress-ng-no*", "stress-ng-nop"])]
    assert "stress-ng-nop" in names and len(names) == len(set(names))
    assert all(name.startswith("stress-ng-no") for name in names)
    assert chosen(session, cell, []) == session.programs(cell)


def test_what_is_kept_counts_as_what_it_takes_on_the_disk(tmp_path: Path) -> None:
    def make(out: Path) -> None:
        with (out / "sparse").open("wb") as file:
            file.truncate(1 << 30)

    cache = Cache(tmp_path)
    cache.get("thing", {"a": 1}, make)
    (entry,) = cache.entries()
    assert entry.size < 1 << 20
