"""A lab: what comes out of it and what does not, and what is left of it when something is killed.

Each costs a boot under TCG, so one lab answers many questions.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.host.host import Host
from harness.integrations.nested_kvm.machine import Hardware
from harness.integrations.nested_kvm.session import LEAST_MEMORY, MEMORY, check
from harness.integrations.nested_kvm.unpacked import VERSION, debians_python
from harness.metrics.history.store import History
from harness.runner.session import Session

HARNESS = [sys.executable, "-c", "from harness.cli import main; raise SystemExit(main())"]
TOP = Path(__file__).parents[3]
ENOUGH = 600.0  # seconds

ASKED = """
import json, os, subprocess, sys
from pathlib import Path
from harness.host.host import Host
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.host.in_lab import recorded
sys.path.insert(0, sys.argv[5])
from history_records import judged

def refused(path):
    try:
        Path(path).write_text("x")
    except OSError as error:
        return error.strerror
    return "written"

kvm = Host().probe(sys.argv[1], "kvm")
found = {
    "kvm": [kvm.answered, kvm.detail],
    "recorded": recorded("kvm"),
    "links": sorted(os.listdir("/sys/class/net")),
    "hidden": {path: Path(path).exists() for path in ("/etc/shadow", "/root/.ssh", sys.argv[2][1:])},
    "refused": {path: refused(path) for path in ("/usr/new", sys.argv[3])},
    "environment": sorted(os.environ),
    "odd": sys.argv[4],
}
Path("runs/one").mkdir()
Path("runs/one/verdict.json").write_text("{}")
Path("found.json").write_text(json.dumps(found))
Path("link").symlink_to("/etc/passwd")
Path("runs/link").symlink_to("/etc/passwd")
with History() as history:
    history.add([judged()])
print("told", flush=True)
print("complained", file=sys.stderr)
raise SystemExit(7)
"""


@dataclass(frozen=True)
class Answers:
    """What a lab's command left: its end, and what it found there."""

    status: int
    stdout: str
    stderr: str
    folder: Path
    found: Mapping[str, object]
    history: Path


def possible(arch: str = "x86_64", memory: int = MEMORY) -> None:
    """Skip the test where this host can have no lab."""
    row = Host().capability(f"lab-{arch}")
    if not row.present:
        pytest.skip(f"no lab is possible here: {row.found}")
    try:
        check(arch, Hardware(1, memory))
    except HarnessError as error:
        pytest.skip(str(error))


def environment(**others: str) -> dict[str, str]:
    """This process's, with the code under test first."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OSV_ROOT", "OSV_HARNESS_LAB")}
    return kept | {"PYTHONPATH": str(TOP)} | others


def lab(*words: str, cwd: Path, options: Sequence[str] = (), **others: str) -> "subprocess.Popen[str]":
    """A lab with a command, as its users start one."""
    # A parent that ignores Ctrl-C, as a shell's background does, would have it ignored.
    command = ["env", "--default-signal=INT", *HARNESS, "lab", *options, "--", *words]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(**others), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Of one lab, in a folder of its own beside a secret."""
    possible()
    top = tmp_path_factory.mktemp("lab")
    folder, secret, history = top / "here", top / "secret", top / "history.sqlite"
    folder.mkdir()
    secret.write_text("of this host")
    # What is named is shown; that of the secret has a letter before it.
    support = TOP / "tests/selftest/support"
    asking = [platform.machine(), f"-{secret}", str(TOP / "tests/new"), "a 'b' $c\n", str(support)]
    process = lab(
        sys.executable, "-c", ASKED, *asking, cwd=folder, SECRET="of ours", OSV_HARNESS_HISTORY=str(history)
    )
    stdout, stderr = process.communicate()
    kept = folder / "found.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    return Answers(process.returncode, stdout, stderr, folder, found, history)


def test_the_commands_status_and_streams_are_passed_on(answers: Answers) -> None:
    assert (answers.status, answers.stdout) == (7, "told\n"), answers.stderr
    assert "complained\n" in answers.stderr
    assert answers.found["odd"] == "a 'b' $c\n"


def test_its_kvm_runs_guests_and_has_a_name_of_its_own(answers: Answers) -> None:
    answered, detail = answers.found["kvm"]  # type: ignore[misc]
    assert answered, detail
    assert answers.found["recorded"] == "kvm in a lab"


def test_what_it_wrote_comes_out_and_no_link_does(answers: Answers) -> None:
    files = [str(path.relative_to(answers.folder)) for path in answers.folder.rglob("*") if not path.is_dir()]
    assert sorted(files) == ["found.json", "runs/one/verdict.json"], answers.stderr


def test_its_records_are_merged_into_this_users_history(answers: Answers) -> None:
    with History(answers.history) as history:
        assert len(history.judged()) == 1


def test_it_is_shown_no_secret_and_changes_nothing(answers: Answers) -> None:
    assert not any(answers.found["hidden"].values())  # type: ignore[attr-defined]
    assert set(answers.found["refused"].values()) == {"Read-only file system"}  # type: ignore[attr-defined]
    assert not (TOP / "tests/new").exists()
    assert "SECRET" not in answers.found["environment"]  # type: ignore[operator]
    assert answers.found["links"] == ["lo"]


def running(word: str) -> list[str]:
    """The processes whose command lines have the word."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word in (line := (process / "cmdline").read_text().replace("\0", " ")):
                found.append(f"{process.name}: {line[:100]}")
        except OSError:
            continue
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A lab whose command runs until it is told to end, with a folder of its own for what is temporary."""
    possible()
    scratch, folder = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    folder.mkdir()
    script = "mkdir runs/one; echo 1 > runs/one/kept; trap 'echo late > runs/one/late; exit 5' INT; echo ready; "
    process = lab("sh", "-c", f"{script} while :; do sleep 0.1; done", cwd=folder, TMPDIR=str(scratch))
    assert process.stdout and process.stderr
    if process.stdout.readline() != "ready\n":
        pytest.fail(process.stderr.read())
    assert running(str(scratch)), "its QEMU is not seen"
    yield process
    process.kill()
    process.wait()


def gone(scratch: Path) -> list[str]:
    """What is left after a while that should not be."""
    until = time.monotonic() + 60
    left = ["not looked"]
    while left and time.monotonic() < until:
        left = [*running(str(scratch)), *map(str, scratch.iterdir())]
        time.sleep(0.05)
    return left


def test_nothing_is_left_of_it_when_the_harness_is_killed(
    started: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    started.kill()
    assert gone(tmp_path / "scratch") == []


def test_ctrl_c_reaches_the_command_whose_evidence_comes_out(
    started: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    started.send_signal(signal.SIGINT)
    assert started.wait() == 5
    assert sorted(path.name for path in (tmp_path / "here/runs/one").iterdir()) == ["kept", "late"]
    assert gone(tmp_path / "scratch") == []


def test_a_lab_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    possible()
    process = lab("sh", "-c", "mkdir runs/one; echo 1 > runs/one/kept; echo c > /proc/sysrq-trigger", cwd=tmp_path)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (2, "")
    assert "Kernel panic - not syncing: sysrq triggered crash" in stderr
    assert "Traceback" not in stderr
    assert (tmp_path / "runs/one/kept").read_text() == "1\n"


ASKED_OF_AARCH64 = """
import json, os, platform, sys
from pathlib import Path
import pexpect, pytest, xdist
from harness.host.host import Host
from harness.host.in_lab import recorded

kvm = Host().probe("aarch64", "kvm")
specs = [spec for module in sys.modules.values() if (spec := getattr(module, "__spec__", None))]
pure = [spec for spec in specs if (spec.origin or "").endswith(".py")]
interrupts = Path("/proc/interrupts").read_text()
Path("found.json").write_text(json.dumps({
    "arch": platform.machine(),
    "kvm": [kvm.answered, kvm.detail],
    "recorded": recorded("kvm"),
    "controllers": [name for name in ("GICv2", "GICv3") if name in interrupts],
    "uncompiled": [spec.name for spec in pure if not os.path.exists(spec.cached)],
}))
raise SystemExit(7)
"""


def test_programs_of_unpacked_packages_are_run_by_the_loader_among_them() -> None:
    """The host's own loader with another Debian's libraries ends with `stack smashing detected`."""
    python = debians_python(Session().cache)
    loader = Path(python.command[0])
    assert loader.resolve() == loader.parent.resolve() / loader.name
    told = [*python.command, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    said = subprocess.run(told, env={**os.environ, **python.environment}, capture_output=True, text=True)
    assert (said.stdout.strip(), said.stderr) == (VERSION, "")


def test_aarch64_guests_have_a_kvm_where_there_is_none_of_that_arch(tmp_path: Path) -> None:
    """On the older interrupt controller, which a Raspberry Pi 4 has and no guest is to ask for by its version."""
    possible("aarch64", LEAST_MEMORY)
    options = ["--arch", "aarch64", "--gic", "2", "--memory", str(LEAST_MEMORY)]
    process = lab("python3", "-c", ASKED_OF_AARCH64, cwd=tmp_path, options=options)
    _, stderr = process.communicate()
    assert process.returncode == 7, stderr
    found = json.loads((tmp_path / "found.json").read_text())
    answered, detail = found["kvm"]
    assert answered, detail
    assert (found["arch"], found["controllers"]) == ("aarch64", ["GICv2"])
    assert found["recorded"] == "kvm in a lab"
    assert found["uncompiled"] == []
