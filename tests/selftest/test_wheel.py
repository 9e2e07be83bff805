"""A wheel that is installed apart from the repository, and a project's own files beside what ships in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel in a virtualenv of its own, in which what it depends on is what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(ROOT / "harness", tree / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    made = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    shutil.rmtree(tree)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv/bin/osv-harness"


LIGHT = {
    "harness.cli", "harness.cli.pytest_lab", "harness.core", "harness.core.errors", "harness.core.procedure",
    "harness.core.text",
    "harness.integrations", "harness.integrations.pytest_plugin", "harness.integrations.pytest_plugin.options",
}  # fmt: skip
"""What pytest imports of ours in every run of every project beside it."""


def run(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    hidden = ("PYTHONPATH", "OSV_ROOT", "OSV_HARNESS_PROJECT", "OSV_HARNESS_HISTORY", "OPENBLAS_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"COLUMNS": "200", "OSV_HARNESS_HISTORY": str(folder / "history.sqlite")}
    return subprocess.run([str(program), *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_what_is_run_is_the_wheel(program: Path, tmp_path: Path) -> None:
    python = program.with_name("python")
    where = subprocess.run(
        [str(python), "-c", "import harness; print(harness.__file__)"],
        cwd=tmp_path, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(python.parents[1])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("matrix", "Cells of linux"),
        ("doctor", "Cells of linux"),
        ("test linux:qemu-rofs stress-ng-nop", "stress-ng-nop: passed"),
        ("app ls", "redis"),
        ("app run hello", "hello on linux:x86_64-qemu-rofs-all: passed"),
        ("perf qemu-ramfs --only size", "size.kernel"),
        ("report", "report.html"),
        ("ci github --output .", ""),
    ],
)
def test_a_command_of_the_wheel_runs_in_an_empty_folder(
    program: Path, tmp_path: Path, words: str, shown: str
) -> None:
    done = run(program, tmp_path, *words.split())
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (words == "doctor" and "lack" in done.stdout), done.stdout + done.stderr
    assert shown in done.stdout + done.stderr


ITEM = """\
def test_guest(run_guest, cell, guest_program):
    run_guest(cell, guest_program)
"""


def pytest_of(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in the wheel's virtualenv, which has no conftest.py of ours."""
    return run(program.with_name("python"), folder, "-m", "pytest", "-p", "no:cacheprovider", *words)


def test_the_wheel_brings_pytest_its_options(program: Path, tmp_path: Path) -> None:
    done = pytest_of(program, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert {"--cell", "--variant", "--lab", "--history"} <= set(done.stdout.replace("=", " ").split())


def test_the_wheel_runs_an_item_of_a_cell_in_a_folder_of_a_users(program: Path, tmp_path: Path) -> None:
    (tmp_path / "test_cell.py").write_text(ITEM)
    done = pytest_of(program, tmp_path, "--cell", "linux:qemu-rofs", "-k", "stress-ng-nop", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stress-ng-nop] PASSED" in done.stdout and "1 passed" in done.stdout
    assert f"{program.parents[1]}" in done.stdout, "the python that ran it is the wheel's"


def test_a_project_that_asks_for_no_cell_has_nothing_of_the_harness_loaded(program: Path, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(f"""\
import os
import sys

def test_nothing_but_options_is_loaded(request):
    ours = {{name for name in sys.modules if name.startswith("harness.")}}
    assert "harness.integrations.pytest_plugin.options" in ours
    assert not ours - {LIGHT}
    assert not {{"numpy", "click", "sqlalchemy", "locust", "gevent"}} & set(sys.modules)
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert not request.config.pluginmanager.has_plugin("harness.integrations.pytest_plugin.plugin")

def test_a_fixture_may_have_the_name_of_one_of_ours(run_guest):
    assert run_guest == "mine"
""")
    fixture = "import pytest\n\n@pytest.fixture\ndef run_guest():\n    return 'mine'\n"
    (tmp_path / "conftest.py").write_text(fixture)
    done = pytest_of(program, tmp_path)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


OWN_APP = 'summary = "mine"\npackages = ["hello"]\nprograms = ["/usr/bin/hello"]\ncommand = "/usr/bin/hello"\n'
EXPECTED = """[[expect]]
cells = "linux:*"
tests = "stress-ng-nop"
outcome = "failed"
reason = "told by this test"
expires = 2999-01-01
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an app, an expectation and a matrix of its own."""
    folder = tmp_path / "mine"
    (folder / "apps").mkdir(parents=True)
    (folder / "apps/redis.toml").write_text(OWN_APP)
    (folder / "expectations.toml").write_text(EXPECTED)
    matrix = (ROOT / "harness/core/data/matrix.toml").read_text()
    (folder / "matrix.toml").write_text(f"{matrix}\n[[set.mine]]\nfs = ['ramfs']\n")
    return folder


@pytest.mark.parametrize("by_option", [False, True])
def test_a_projects_own_files_come_first(program: Path, project: Path, tmp_path: Path, by_option: bool) -> None:
    folder, more = (tmp_path, ["--project", str(project)]) if by_option else (project, [])
    listed = run(program, folder, "app", "ls", *more).stdout
    assert "mine" in next(line for line in listed.splitlines() if line.startswith("redis"))
    assert "nginx" in listed, "what ships is there too"
    assert run(program, folder, "matrix", "--set", "mine", *more).stdout.count("ramfs") >= 1
    asked = "from harness.runner import expectations; from harness.core.matrix import Matrix\n"
    asked += "row = expectations.expected(Matrix.load().parse('qemu-rofs', 'linux'), 'stress-ng-nop', 'tcg')\n"
    asked += "print(row and row.reason)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OSV_HARNESS_PROJECT": str(project)} if by_option else {}
    python = str(program.with_name("python"))
    done = subprocess.run([python, "-c", asked], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "told by this test", done.stderr
    if not by_option:
        assert "no set 'mine'" in run(program, tmp_path, "matrix", "--set", "mine").stderr


def test_a_project_that_is_no_folder_is_said(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, "matrix", "--project", "nowhere")
    assert done.returncode == 2 and "no folder nowhere" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[axis", "is no TOML"), ("", "there is no 'axis'"), ("axis = 3", "no matrix"),
        ("\xff", "no text in UTF-8"), ("[axis.arch]\nvalues = 3", "no matrix"),
    ],
)  # fmt: skip
def test_a_broken_matrix_is_said(program: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "matrix.toml").write_bytes(text.encode("latin-1"))
    done = run(program, tmp_path, "matrix")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert str(tmp_path / "matrix.toml") in done.stderr
