"""Imports run one way: pyproject.toml has the layers, import-linter reads them; and the shape of the package."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness

PACKAGE = Path(harness.__file__).parent
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"
MOST_ENTRIES = 12
MOST_LINES, LONGEST_FUNCTION = 300, 60


def _linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """What is said of the package in the folder, by the contracts of this repository."""
    contracts = Path(__file__).parents[2] / "pyproject.toml"
    words = [sys.executable, "-c", LINT, "--no-cache", "--no-logo", str(contracts)]
    found_first = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": found_first, "COLUMNS": "200"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def _too_long(path: Path) -> list[str]:
    """The module, if it can't be read in one sitting, and those of its functions that can't be seen at once."""
    text = path.read_text()
    count = len(text.splitlines())
    found = [f"{path}: {count} lines"] if count > MOST_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            found += [f"{path}:{node.lineno}: {node.name}: {lines} lines"] if lines > LONGEST_FUNCTION else []
    return found


def test_imports_run_one_way_and_in_no_circle() -> None:
    done = _linted(PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("core/cell.py", "from harness.host import cache", "harness.core is not allowed to import harness.host"),
        ("kernels/base.py", "import harness.vm.base", "harness.kernels is not allowed to import harness.vm"),
        ("report/progress.py", "import harness.cli", "harness.report is not allowed to import harness.cli"),
        ("core/errors.py", "from harness.core import matrix", "harness.core"),
        ("new/__init__.py", "", "harness.new"),
    ],
    ids=["up", "beside", "up in a function", "circle", "package without a layer"],
)
def test_an_import_that_does_not_is_found(file: str, line: str, said: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "harness" / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}\n\ndef planted() -> None:\n    {line or 'pass'}\n")
    done = _linted(tmp_path)
    assert done.returncode == 1, "it was not found"
    assert said in done.stdout + done.stderr


def test_the_package_opens_on_few_names_and_none_is_private_by_an_underscore() -> None:
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file()]
    # A package that moved away leaves compiled files behind, where a checkout was brought up to date.
    entries = {path.parts[0] for path in files if "__pycache__" not in path.parts}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    private = [path for path in PACKAGE.rglob("_*.py") if path.name not in ("__init__.py", "__main__.py")]
    assert not private


def test_modules_and_functions_are_short() -> None:
    assert not [line for path in sorted(PACKAGE.rglob("*.py")) for line in _too_long(path)]


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def fits() -> None:\n" + "    pass\n" * (LONGEST_FUNCTION - 1))
    assert not _too_long(module)
    longer = "class One:\n    async def too_long(self) -> None:\n" + "        pass\n" * LONGEST_FUNCTION
    module.write_text(longer + "\n" * (MOST_LINES - LONGEST_FUNCTION - 1))
    assert [line.split(": ", 1)[1] for line in _too_long(module)] == ["301 lines", "too_long: 61 lines"]
