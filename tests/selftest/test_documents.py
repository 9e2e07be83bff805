"""Every command of README and docs: the quick ones are run as written, of others all words are checked."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import command_line as cli
from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.host.requirements import REQUIREMENTS, TESTS
from harness.metrics.suite import names as measurements
from harness.runner.session import Session
from harness.workloads.apps import app as apps

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OWN_DOCUMENT = re.compile(r"\bdocs/(?:explanation|guide|reference|results)/[\w./-]+\w")
OWN_FILES = [
    path
    for folder in ("harness", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".toml", ".sh", ".html", ".js")
]
SUITES = ("-apps", "-perf")
OWN_ENVIRONMENTS = ("lint", "types", "self", "lab", "doctor")
QUICK = re.compile(
    r"osv-harness (matrix|cache ls|app ls|app new units|ci (github|shell)|history export >|doctor"
    r"|report($| --(since|format)))"
)
"""What is run as it is written: in seconds, without a checkout, and without another machine."""


def commands(document: Path) -> Iterator[str]:
    """The commands of a document's `sh` blocks, each with what stands before it on its line."""
    for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if shlex.split(line, comments=True):
                yield line.strip()


def plain(line: str) -> list[str]:
    """The words of a command, less comment, settings, redirection and `./ready`."""
    words = shlex.split(line.partition(" > ")[0] if " > " in line.partition("#")[0] else line, comments=True)
    while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] == "./ready"):
        words = words[1:]
    return words


def links(document: Path) -> list[str]:
    """What a document's own links and pictures lead to, less what is on other hosts or in an example."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def anchors(document: Path) -> set[str]:
    """The names by which GitHub links to a document's headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


EVERY = [(document.name, line) for document in DOCUMENTS for line in commands(document)]
BY_HARNESS = [(name, line) for name, line in EVERY if plain(line)[:1] == ["osv-harness"]]


@pytest.mark.parametrize(("document", "line"), BY_HARNESS)
def test_a_command_of_the_harness_has_only_words_that_it_knows(document: str, line: str) -> None:
    asked = cli.parse(plain(line)[1:]).arguments
    session = Session(Path("/some/osv"))
    named = getattr(asked, "cell", None) or []
    patterns = plain(line)[1] in ("matrix", "report", "findings", "history")
    cells = [session.cell(one) for one in ([named] if isinstance(named, str) else named) if not patterns]
    cells = session.matrix.vary(cells, _words(asked, "variant"), _words(asked, "launch"))
    if plain(line)[1:3] == ["app", "run"]:
        _check_app(cells or [session.cell("qemu-rofs")], asked.name, asked.load or [])
    for measurement in _words(asked, "only"):
        assert measurement in measurements(cells[0])
    if of_set := getattr(asked, "set", None):
        assert of_set in Matrix.load().sets


def _words(asked: object, name: str) -> list[str]:
    found = getattr(asked, name, None) or []
    return [found] if isinstance(found, str) else list(found)


def _check_app(cells: list[Cell], names: list[str], loads: list[str]) -> None:
    for cell in cells:
        for name in names:
            assert set(loads) <= set(apps.app(name, cell).loads)


@pytest.mark.parametrize(
    "name", sorted({words[words.index("-e") + 1] for _, line in EVERY if "-e" in (words := plain(line))})
)
def test_a_tox_environment_is_one(name: str) -> None:
    if name not in OWN_ENVIRONMENTS:
        cell = next((name.removesuffix(suite) for suite in SUITES if name.endswith(suite)), name)
        Matrix.load().check(Matrix.load().parse(cell, "osv"))


@pytest.fixture(scope="module")
def options_of_pytest() -> set[str]:
    asked = [sys.executable, "-m", "pytest", "--help", "-p", "no:cacheprovider"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout)) | {"-k", "-n", "--hosts"}


@pytest.mark.parametrize(
    ("document", "line"), [(name, line) for name, line in EVERY if plain(line)[:1] == ["pytest"]]
)
def test_a_session_of_pytest_has_tests_and_options(document: str, line: str, options_of_pytest: set[str]) -> None:
    words = plain(line)[1:]
    assert (ROOT / words[0]).exists()
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= options_of_pytest
    session = Session(Path("/some/osv"))
    for index, word in enumerate(words):
        if word == "--cell":
            session.cell(words[index + 1])
        if word == "--set":
            assert words[index + 1] in session.matrix.sets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(document: Path) -> None:
    for target in links(document):
        name, _, heading = target.partition("#")
        led_to = document.parent / name if name else document
        assert led_to.exists(), target
        assert not heading or heading in anchors(led_to), target


def test_a_document_that_code_names_is_there() -> None:
    named = {found for path in OWN_FILES for found in OWN_DOCUMENT.findall(path.read_text())}
    assert len(named) > 5
    assert not [one for one in named if not (ROOT / one).is_file()]


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    led_to = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert not set((ROOT / "docs").rglob("*.md")) - led_to - {index}


def test_the_readme_names_what_the_own_tests_install() -> None:
    """None of it is wanted for a cell's tests."""
    rows = [row for row in REQUIREMENTS.values() if row.required_for == TESTS]
    packages = {package for row in rows for package in row.packages} - {"util-linux"}  # which every Debian has
    assert {"chromium", "postgresql"} <= packages
    text = (ROOT / "README.md").read_text()
    assert not [package for package in packages if package not in text]


def test_nothing_of_documents_is_left_unchecked() -> None:
    known = {"osv-harness", "pytest", "tox", "pip", "createdb", "export", "eval", "sh"}
    assert {plain(line)[0] for _, line in EVERY} <= known
    assert len(BY_HARNESS) > 40 and sum(bool(QUICK.search(line)) for _, line in BY_HARNESS) > 12


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new user's folder, in which the harness's own command is in PATH."""
    (program := tmp_path / "bin/osv-harness").parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m harness.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(tmp_path / "history.sqlite"))
    monkeypatch.delenv("OSV_ROOT", raising=False)
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("document", "line"), [(name, line) for name, line in BY_HARNESS if QUICK.search(shlex.join(plain(line)))]
)
def test_a_quick_command_does_as_it_is_written(document: str, line: str, folder: Path) -> None:
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=300)
    lacks = "doctor" in line and "lack" in done.stdout
    assert done.returncode == 0 or lacks, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_examples_of_help_are_tests_that_there_are(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["test", "--help"])
    named = re.findall(r"stress-ng-[\w-]+", capsys.readouterr().out)
    cell = session.cell("linux:qemu-rofs")
    assert named
    for name in named:
        try:
            session.program(cell, name)
        except HarnessError as error:
            pytest.fail(str(error))
