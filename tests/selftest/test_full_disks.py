"""A disk that is full or read-only: said in one sentence, nothing half written, and no green run red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import history_records
import pytest

from harness.cli.commands.test import _write_evidence
from harness.core.errors import of_system
from harness.host.cache import default_root
from harness.metrics.history.store import History
from harness.runner.base import Program
from harness.runner.session import Session

ROOT = Path(__file__).parents[2]
FILLED = "cat /dev/zero > $ROOM/filling 2>/dev/null"
READ_ONLY = "mount -o remount,bind,ro $ROOM"
HARNESS = f"{sys.executable} -m harness.cli"
WHY = {FILLED: "No space left on device", READ_ONLY: "Read-only file system"}


def run(line: str, folder: Path, kind: str, before: str = "true") -> subprocess.CompletedProcess[str]:
    """Run a line of shell where $ROOM is on a small disk of its own, on which `before` was done, then `kind`."""
    room = folder / "room"
    room.mkdir(exist_ok=True)
    made = f"mount -t tmpfs -o size=64k room $ROOM && {{ {before}; }} && {{ {kind}; cd $WORK; {line}\n }}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "PYTHONPATH": str(ROOT), "HARNESS": HARNESS, "PYTHON": sys.executable, "ROOM": str(room),
        "WORK": str(folder), "REAL": str(default_root()), "TREE": str(ROOT),
    }  # fmt: skip
    environment.pop("OSV_ROOT", None)
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    tried = subprocess.run([*alone, f"mount -t tmpfs room {room}"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this user may not mount a tmpfs: {tried.stderr.strip()}")
    return subprocess.run([*alone, made], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("kind", [FILLED, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("$HARNESS ci github --output $ROOM/out", "out/nightly.yml"),
        ("$HARNESS app new another --package hello --project $ROOM", "apps/another.toml"),
        ("$HARNESS report --history $WORK/h.sqlite --output $ROOM/r.html", "r.html"),
        ("$HARNESS history export --history $WORK/h.sqlite $ROOM/h.jsonl", "h.jsonl"),
        ("echo [] > p.json; $HARNESS ci plan p.json --write $ROOM/plan", "plan"),
    ],
    ids=["workflows", "app", "report", "export", "plan"],
)
def test_what_can_not_be_written_is_named_and_leaves_no_half(
    line: str, file: str, kind: str, tmp_path: Path
) -> None:
    """And what was there before is there still."""
    room = tmp_path / "room"
    before = f"mkdir -p $(dirname $ROOM/{file})" + ("" if "app new" in line else f"; echo kept > $ROOM/{file}")
    after = f"{line}; status=$?; echo == $(cat $ROOM/{file} 2>&1); ls -A $(dirname $ROOM/{file}); exit $status"
    with History(tmp_path / "h.sqlite") as history:
        history.add([history_records.sample()])
    done = run(after, tmp_path, kind, before)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{room}/{file} can't be written: {WHY[kind]}." in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 2
    left = done.stdout.partition("== ")[2]
    assert left.startswith("kept\n") or ("app new" in line and "No such file" in left.splitlines()[0])
    assert f".{Path(file).name}." not in left, "what was begun is gone"


LINKED = 'mkdir -p $ROOM/locks $ROOM/host $ROOM/durations; for one in "$REAL"/*; do ln -s "$one" $ROOM; done; true'
"""A cache with the real one's artefacts, whose own files are on the small disk."""


@pytest.mark.parametrize("kind", [FILLED, READ_ONLY], ids=["full", "read-only"])
def test_doctor_says_of_a_cache_that_it_can_not_be_written(kind: str, tmp_path: Path) -> None:
    """And finds what the host can run all the same."""
    line = "OSV_HARNESS_CACHE=$ROOM $HARNESS doctor --format json > told; echo $?"
    done = run(f"{line}; $PYTHON -c '{_ROWS}'", tmp_path, kind)
    assert done.stdout.splitlines() == ["1", "False True", f"{tmp_path}/room can't be written to: {WHY[kind]}"]
    assert done.stderr.startswith("Not kept: the proof of what this host runs") and WHY[kind] in done.stderr
    assert "Traceback" not in done.stderr


_ROWS = (
    'import json, platform; rows = {row["name"]: row for row in json.load(open("told"))};'
    'print(rows["cache"]["present"], rows[f"tcg-{platform.machine()}"]["present"]); print(rows["cache"]["found"])'
)


def test_a_full_disk_under_the_cache_ends_no_green_run_red(session: Session, tmp_path: Path) -> None:
    """What was not kept, and costs only time, is named once."""
    session.runner(session.cell("linux:qemu-rofs")).prepare()
    asked = "$PYTHON -m pytest tests/unit --cell linux:qemu-rofs -k stress-ng-nop -q -p no:cacheprovider --forget"
    line = f"cd $TREE; OSV_HARNESS_CACHE=$ROOM {asked} --runs $WORK/runs"
    done = run(line, tmp_path, FILLED, LINKED)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "1 passed" in said, said
    assert said.count("how long each test took") == 1 and WHY[FILLED] in said
    assert "Traceback" not in said and "INTERNALERROR" not in said


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FILLED, 4), (READ_ONLY, 4), ("head -c 55k /dev/zero > $ROOM/filling", 3)],
    ids=["full", "read-only", "full at the end"],
)
def test_a_report_for_ci_that_can_not_be_written(kind: str, status: int, tmp_path: Path) -> None:
    """It is known before the first test, or else said beside the verdicts; and who named the file hears of it."""
    (tmp_path / "test_many.py").write_text(
        'import pytest\n@pytest.mark.parametrize("n", range(300))\ndef test_one(n): pass\n'
    )
    line = "$PYTHON -m pytest -p harness.integrations.pytest_plugin.plugin test_many.py -q --junitxml $ROOM/junit.xml --forget"  # noqa: E501
    done = run(f"{line} --rootdir $WORK -p no:cacheprovider", tmp_path, kind)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert f"{tmp_path}/room/junit.xml can't be written: {WHY.get(kind, WHY[FILLED])}." in said
    assert ("300 passed" in said) == (status == 3)
    assert "Traceback" not in said and "INTERNALERROR" not in said


def test_a_copy_to_a_full_disk_is_its_targets_fault(tiny_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(2 << 20))
    with pytest.raises(OSError) as refused:
        shutil.copyfile(tmp_path / "big", tiny_disk / "copy")
    assert of_system(refused.value).message == f"{tiny_disk}/copy: No space left on device."


def test_evidence_that_is_not_kept_hides_no_verdict(
    session: Session, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = session.cell("linux:qemu-rofs")
    run = session.run_on(session.image(cell), Program("fails", "false", 60))
    assert run.verdict.outcome == "failed", run.verdict.reason
    (tiny_disk / "filling").write_bytes(bytes((1 << 20) - (1 << 14)))
    assert not _write_evidence(run, session.image(cell), "tcg", tiny_disk / "runs", "again")
    said = capsys.readouterr().err
    assert "The evidence of fails (failed: the program ended with status 1)" in said and WHY[FILLED] in said
    assert _write_evidence(run, session.image(cell), "tcg", tiny_disk.parent / "runs", "again")


@pytest.mark.parametrize(
    ("streams", "line", "status", "said"),
    [
        (">&-", "matrix linux:qemu-rofs", 0, ""),
        ("<&- >&- 2>&-", "matrix linux:qemu-rofs", 0, ""),
        ("2>&-", "matrix no-cell", 2, ""),
        ("2> /dev/full", "matrix no-cell", 2, ""),
        ("> /dev/full 2> /dev/full", "matrix linux:qemu-rofs", 2, ""),
        ("> /dev/full", "cache ls", 2, "Standard output can't be written: No space left on device."),
    ],
)
def test_streams_that_are_closed_or_full(streams: str, line: str, status: int, said: str, tmp_path: Path) -> None:
    """The sentence, if it can be said, and the right status in any case."""
    for buffered in ("", "1"):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": buffered}
        done = subprocess.run(
            ["sh", "-c", f"{HARNESS} {line} {streams}"], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert done.stderr.startswith(said) and "Traceback" not in done.stderr


@pytest.mark.parametrize("errors", ["", "2> /dev/full"], ids=["output", "errors too"])
@pytest.mark.parametrize("workers", ["", "-n 2"], ids=["alone", "workers"])
def test_pytest_whose_output_is_full_runs_all_tests(workers: str, errors: str, tmp_path: Path) -> None:
    """The session is failed, for nobody can read its summary; what the tests did is done."""
    (tmp_path / "test_many.py").write_text(
        "import pathlib, pytest\n@pytest.mark.parametrize('n', range(300))\n"
        "def test_one(n): pathlib.Path(__file__).with_name(f'ran-{n}').touch()\n"
    )
    plugin = "-p harness.integrations.pytest_plugin.plugin --forget -p no:cacheprovider --rootdir ."
    line = f"{sys.executable} -m pytest {plugin} {workers} -v test_many.py > /dev/full {errors}"
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    said = "" if errors else "Standard output can't be written: No space left on device."
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr and "INTERNALERROR" not in done.stderr
    assert len(list(tmp_path.glob("ran-*"))) == 300


def test_work_does_not_end_with_its_display(tmp_path: Path) -> None:
    """A log on a full disk takes no more lines of what is going on; the run goes on."""
    asked = (
        "from harness.cli.streams import valid_streams\n"
        "from harness.core.events import publish, subscribed; from harness.report.progress import Progress\n"
        "with valid_streams(), subscribed(Progress()): publish('build.started', 'a kernel')\n"
        "print('done')"
    )
    for streams, said in (("2> /dev/full", ""), ("", "build.started a kernel")):
        done = subprocess.run(
            ["sh", "-c", f'"$PYTHON" -c "$ASKED" {streams}'], capture_output=True, text=True, cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "ASKED": asked},
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "done\n") and said in done.stderr
