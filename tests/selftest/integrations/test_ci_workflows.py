"""The workflows of nights: what the command writes, faultless, no text of others in a shell, no token too many."""

import itertools
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from ci_nights import HOMES, ROOT, loaded, run_steps

from harness.cli import main
from harness.integrations.ci import workflow

WORKFLOWS = ROOT / ".github/workflows"


def test_the_workflows_of_this_repository_are_what_the_command_writes(tmp_path: Path) -> None:
    assert main(["ci", "github", "--output", str(tmp_path)]) == 0
    for name in workflow.NAMES:
        assert (WORKFLOWS / name).read_text() == (tmp_path / name).read_text(), "run `osv-harness ci github`"


def test_the_own_tests_run_on_the_oldest_and_the_newest_python_that_are_promised() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    path = WORKFLOWS / "own-tests.yml"
    done = subprocess.run([*check, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    document = yaml.safe_load(path.read_text())
    run = [row["python"] for row in document["jobs"]["own-tests"]["strategy"]["matrix"]["include"]]
    named = [word.rsplit(" ", 1)[1] for word in project["classifiers"] if " :: Python :: 3." in word]
    assert project["requires-python"] == f">={run[0]}"
    assert [run[0], run[-1]] == [named[0], named[-1]]
    assert not [step for step in run_steps(document) if "${{" in step["run"]]


@pytest.mark.parametrize(("kernel", "home"), list(itertools.product(("osv", "linux"), HOMES)))
def test_actionlint_finds_nothing(kernel: str, home: workflow.Home, tmp_path: Path) -> None:
    lint = shutil.which("actionlint")
    if lint is None:
        pytest.skip("actionlint is not in PATH (pip install '.[workflows]' puts it there)")
    paths = [tmp_path / name for name in workflow.NAMES]
    for path in paths:
        path.write_text(workflow.workflow(path.name, kernel, home, "x"))
    done = subprocess.run([lint, *map(str, paths)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kernel", "home"), list(itertools.product(("osv", "linux"), HOMES)))
def test_workflows_are_what_githubs_schema_of_them_wants(kernel: str, home: workflow.Home, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in workflow.NAMES]
    for path in paths:
        path.write_text(workflow.workflow(path.name, kernel, home, "x"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*check, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    paths[0].write_text(paths[0].read_text().replace("runs-on:", "runs-in:", 1))
    done = subprocess.run([*check, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 1, "a job that runs nowhere was not found"


@pytest.mark.parametrize(
    ("name", "kernel", "home"), list(itertools.product(workflow.NAMES, ("osv", "linux"), HOMES))
)
def test_no_text_of_others_gets_into_a_shell_and_tokens_can_do_no_more_than_they_must(
    name: str, kernel: str, home: workflow.Home
) -> None:
    document = loaded(name, kernel, home)
    assert not [step for step in run_steps(document) if "${{" in step["run"]]
    writing = {job: row.get("permissions", {}) for job, row in document["jobs"].items()}
    writing = {job: {one for one, may in granted.items() if may == "write"} for job, granted in writing.items()}
    may_write = {
        "nightly.yml": {"issues": {"issues"}, "publish": {"pages", "id-token"}},
        "comment.yml": {"comment": {"pull-requests"}},
    }
    assert {job: may for job, may in writing.items() if may} == may_write.get(name, {})
    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in yaml.safe_dump(document)
    triggers = document[True]  # YAML reads `on` as a truth
    wanted = {"nightly.yml": {"schedule", "workflow_dispatch"}, "comment.yml": {"workflow_run"}}
    assert set(triggers) == wanted.get(name, {"pull_request"})
    checkouts = [
        step for row in document["jobs"].values() for step in row["steps"] if "checkout" in step.get("uses", "")
    ]
    assert checkouts
    assert not any(step["with"]["persist-credentials"] for step in checkouts)


def test_what_runs_is_what_the_steps_say_and_the_same_in_a_plain_shell() -> None:
    texts = workflow.steps()
    nightly = {step["run"].strip() for step in run_steps(loaded("nightly.yml"))}
    script = workflow.script("linux", "quick")
    assert texts["lab"] in nightly
    for step in ("plan", "build", "measure", "test", "merge", "confirm", "report", "summary"):
        assert texts[step] in nightly
        assert texts[step] in script


def test_a_night_of_osv_hunts_for_its_minutes_before_the_report_and_one_of_linux_does_not() -> None:
    document = loaded("nightly.yml")
    for arch, _ in workflow.RUNNERS:
        job = document["jobs"][f"hunt-{arch}"]
        assert job["env"]["HUNT_MINUTES"] < job["timeout-minutes"]
        assert workflow.steps()["hunt"] in {step["run"].strip() for step in run_steps(document, f"hunt-{arch}")}
        assert f"hunt-{arch}" in document["jobs"]["report"]["needs"]
    gathered = [
        step["with"]["pattern"]
        for step in document["jobs"]["issues"]["steps"] if "download-artifact" in step.get("uses", "")
    ]
    assert ["hunted" in pattern for pattern in gathered] == [True]
    shell = workflow.script("osv", "nightly")
    assert workflow.steps()["hunt"] in shell
    assert shell.index("step confirm ") < shell.index("step hunt ") < shell.index("step report ")
    assert "hunt" not in workflow.script("linux", "nightly")
    assert not [job for job in loaded("nightly.yml", "linux")["jobs"] if "hunt" in job]


def test_shells_find_no_fault_in_any_step(tmp_path: Path) -> None:
    check = shutil.which("shellcheck")
    if check is None:
        pytest.skip("shellcheck is not in PATH")
    paths = [tmp_path / "night.sh"]
    paths[0].write_text(workflow.script("osv", "nightly"))
    for name, text in workflow.steps().items():
        paths.append(tmp_path / name)
        paths[-1].write_text(f"#!/bin/sh\nset -eu\n{text}\n")
    done = subprocess.run([check, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [["--home", "osv"], ["--other", "x; rm -rf /"], ["--other", "a/b/c"]])
def test_a_wrong_repository_is_refused(words: list[str], tmp_path: Path) -> None:
    assert main(["ci", "github", "--output", str(tmp_path), *words]) == 2
