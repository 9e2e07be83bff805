"""What a bisection leaves: commits, numbers, what the culprit changed of a kernel; and how the page tells it."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import (
    Difference,
    bisection_document,
    demangled,
    kernel_differences,
    phase_differences,
)
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.model import REVERTED, Broken, Build, Built, Kind, Measure
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import CHECKS
from harness.core.cell import Cell
from harness.core.machine import Image
from harness.host.cache import Cache
from harness.kernels.osv.checkout import LANDMARKS
from harness.kernels.symbols import Symbols
from harness.metrics.records import Document, Environment, Metric, Sample, Version
from harness.report.html.page import page
from harness.report.model.data import ReportData

VERSION = Version("a" * 40, "", "v1", 0.0)
HERE = Environment("host", "cpu", 2, "", "tcg", "qemu 7.2", "6.1")


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    """Ten commits after a first, each of which changes something; the names of some would like to be markup."""
    root = tmp_path / "osv"
    root.mkdir()
    _git(root, "init", "-q", "-b", "master")
    for number in range(11):
        for name in LANDMARKS:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(str(number))
        _git(root, "add", "-A")
        _git(root, "commit", "-q", "-m", f"number {number} <script>alert(1)</script>\x1b[31m")
    return Commits(root, "HEAD~10", "HEAD")


class World:
    """A boot costs 100, and from commit 6 on 107; commit 2 does not build."""

    layouts = 1
    cached = ()

    def build(self, key: Build) -> Built | Broken:
        return (
            Broken("core/sched.cc: error: <b>")
            if key.index == 2
            else Built(f"{key.index} {key.layout == REVERTED}", 1.0)
        )

    def boot(self, key: Build) -> float | Broken:
        return 100.0 if key.layout == REVERTED or key.index < 6 else 107.0


def test_an_account_tells_the_commits_that_were_tried(commits: Commits) -> None:
    bisection = Bisection(
        commits.line(), Measure("boot.instructions", "instructions", Kind.EXACT), World(), MemoryJournal()
    )
    answer = bisection.run(CHECKS)
    told = bisection_document(bisection.state, commits, answer, [])
    tried = {row["commit"]: row for row in told["commits"]}
    culprit = tried[commits.commits[6]]
    assert culprit["probability"] == 1.0
    assert culprit["builds"] == [{"layout": 0, "values": [107.0] * 2}], "builds of checks are told as checks"
    assert culprit["subject"].startswith("number 6")
    assert told["range"] == [commits.good, commits.bad, 10]
    assert len(tried) < 10, "a commit that nothing speaks of is left out"


def test_the_page_tells_a_bisection_and_no_markup_of_its_commits(commits: Commits) -> None:
    bisection = Bisection(
        commits.line(), Measure("boot.instructions", "instructions", Kind.EXACT), World(), MemoryJournal()
    )
    answer = bisection.run(CHECKS)
    changed = [Difference("phase", "boot.instructions.kernel", 100.0, 107.0, "instructions"),
               Difference("symbol", "planted<int>()", 0.0, 64.0, "B")]  # fmt: skip
    body = bisection_document(bisection.state, commits, answer, changed)
    document = Document("bisect", "osv:x86_64-qemu-ramfs-all", "boot.instructions", body, VERSION, "run", 1.0)
    text = page(ReportData(documents=[document]))
    assert f"{commits.commits[6][:12]}: from 100 instructions to 107 instructions (+7%)" in text
    assert "Reverted holds: Reverting it on the bad end takes 100% of the change away." in text
    shown = text.replace("\\u0026", "&")  # of the page's parts, which are JSON in a script element
    assert "planted&lt;int&gt;()" in shown and "+64 B, new" in shown
    assert "number 6 &lt;script&gt;" in shown
    assert "<script>alert" not in text and "\x1b" not in text


def test_a_bisection_of_another_form_is_shown_as_it_is() -> None:
    document = Document("bisect", "cell", "metric", {"answer": "in another form"}, VERSION, "run", 1.0)
    assert "in another form" in page(ReportData(documents=[document]))


def _kernel(folder: Path, source: str) -> Image:
    folder.mkdir()
    (folder / "kernel.c").write_text(source)
    elf = folder / "kernel.elf"
    subprocess.run(["gcc", "-O0", "-shared", "-fPIC", "-nostdlib", "-o", elf, folder / "kernel.c"], check=True)
    return Image(Cell("osv", "x86_64", "qemu", "ramfs", "all"), elf, "", "", symbols=elf)


def test_a_kernels_parts_are_compared(tmp_path: Path) -> None:
    same = "int same(int a) { return a; }\n"
    loop = "int planted(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i * n; return sum; }\n"
    old = _kernel(tmp_path / "old", f"{same}int gone(void) {{ return 1; }}\n")
    new = _kernel(tmp_path / "new", f"{same}{loop}")
    cache = Cache(tmp_path / "cache")
    found = kernel_differences(old, new, (Symbols(old.kernel, cache), Symbols(new.kernel, cache)))
    symbols = {one.name: (one.before, one.after) for one in found if one.kind == "symbol"}
    assert symbols.keys() == {"planted", "gone"}
    assert symbols["gone"][1] == 0 and symbols["planted"][0] == 0 < symbols["planted"][1]
    sections = {one.name: one.after - one.before for one in found if one.kind == "section"}
    assert sections["text"] == symbols["planted"][1] - symbols["gone"][0]


def test_phases_that_differ_are_told() -> None:
    def sample(name: str, value: float) -> Sample:
        metric = Metric(name, "instructions", exact=True)
        return Sample(metric, value, "osv:x86_64-qemu-ramfs-all", "hello", VERSION, HERE, "run", 1.0)

    old = [
        sample("boot.instructions", 30),
        sample("boot.instructions.kernel", 20),
        sample("boot.instructions.end", 9),
    ]
    new = [replace(one, value=one.value + 5 * one.metric.name.endswith("kernel")) for one in old]
    assert phase_differences(old, new) == [Difference("phase", "boot.instructions.kernel", 20, 25, "instructions")]


def test_names_are_read_in_one_go() -> None:
    names = ["_ZN5sched3cpu8scheduleEv", "main", "_ZN"]
    told = demangled(names)
    assert list(told) == names and told["main"] == "main"
    if shutil.which("c++filt"):
        assert told["_ZN5sched3cpu8scheduleEv"] == "sched::cpu::schedule()"
    assert demangled([]) == {}
