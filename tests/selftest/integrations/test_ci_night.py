"""One night, step by step: the workflow's steps as they are written, run as a runner would."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ci_nights import HERE, METRIC, ROOT, loaded, run_steps, version

from harness.core.arch import host_arch
from harness.metrics.history.store import History
from harness.metrics.records import Sample
from harness.runner.session import Session


class Runner:
    """Runs the steps of a workflow's job as a runner would: bash, the job's environment, one file for each thing
    that a step tells the runner."""

    def __init__(self, document: Mapping[str, Any], folder: Path, **environment: str) -> None:
        self._document = document
        self._folder = folder
        self.output, self.summary = folder / "output", folder / "summary"
        kept = {name: value for name, value in os.environ.items() if name != "OSV_ROOT"}
        files = {"GITHUB_OUTPUT": str(self.output), "GITHUB_STEP_SUMMARY": str(self.summary)}
        self._environment = {**kept, **files, **document["env"], **environment}

    def __call__(self, job: str, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        (step,) = (step for step in run_steps(self._document, job) if step["name"] == name)
        script = self._folder / "step.sh"
        script.write_text(step["run"])
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        return subprocess.run(
            command, cwd=self._folder / "harness", env={**self._environment, **environment}, text=True,
            capture_output=True,
        )  # fmt: skip

    def outputs(self) -> dict[str, Any]:
        """What the plan told, as the next job's matrix gets it."""
        pairs = (line.partition("=") for line in self.output.read_text().splitlines())
        return {name: json.loads(value) for name, _, value in pairs}


GH_OF_A_NIGHT = """#!/bin/sh
case "$1 $2" in
"run list") echo 41 ;;
"api repos/me/x/actions/runs/41/artifacts?name=history") echo 1 ;;
"run download") mkdir -p night/in/previous && cp "$OLD" night/in/previous/history.jsonl ;;
"issue list") echo '[]' ;;
"issue create") printf '%s\\n' "$@" >> "$GH_LOG"; cat >> "$GH_LOG" ;;
"label create") ;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
"""


def copy_of_the_repository(folder: Path) -> None:
    """What a checkout has, without its history: the files that git knows or would."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def path_with_gh(folder: Path) -> str:
    """A PATH whose `gh` notes what a night asks of it."""
    folder.mkdir()
    (folder / "gh").write_text(GH_OF_A_NIGHT)
    (folder / "gh").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def exported_with(sample: Sample, folder: Path) -> str:
    """The path of an exported history that has the sample."""
    with History(folder / "old.sqlite") as history, (folder / "old.jsonl").open("wb") as file:
        history.add([sample])
        history.export(file)
    return str(folder / "old.jsonl")


def test_a_nights_steps_as_they_are_written(session: Session, tmp_path: Path) -> None:
    """On the linux kernel, with two tests of one cell; what jobs hand on is where the artefacts' steps put it."""
    if not shutil.which("osv-harness"):
        pytest.skip("osv-harness is not in PATH")
    arch = host_arch()
    document = loaded("nightly.yml", "linux")
    document["env"]["SET"] = "quick"
    copy_of_the_repository(tmp_path / "harness")
    night, log = tmp_path / "harness/night", tmp_path / "gh-log"
    old = Sample(METRIC, 5.0, f"linux:{arch}-qemu-rofs-all", "", version("a"), HERE, "old", 1.0)
    runner = Runner(
        document, tmp_path, ARCH=arch, PATH=path_with_gh(tmp_path / "bin"), OLD=exported_with(old, tmp_path),
        GH_LOG=str(log), GH_REPO="me/x", GH_TOKEN="", BRANCH="main", OSV_HARNESS_CACHE=str(session.cache.root),
    )  # fmt: skip

    def did(job: str, name: str, **environment: str) -> None:
        done = runner(f"{job}-{arch}" if job not in ("report", "issues", "verdict") else job, name, **environment)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    did("plan", "Ask which cells run on this runner")
    told = runner.outputs()
    (build,) = told["builds"]
    assert [cell["cell"] for cell in told["cells"]] == build["cells"].split()
    did("build", "Build once", CELLS=build["cells"], BUILD=build["name"])
    rofs, ramfs = told["cells"]
    did("build", "Measure", CELLS=ramfs["cell"], BUILD=build["name"])
    chosen = '-k "stress-ng-access] or stress-ng-brk]"'
    did("cells", "Test", CELL=rofs["cell"], SLUG=rofs["slug"], PYTEST_ADDOPTS=chosen)
    (night / "in").mkdir()
    handed_on = ("plan-*", "tested-*.*ml", "tested-*.jsonl", "measured-*.jsonl")
    for path in (path for pattern in handed_on for path in night.glob(pattern)):
        shutil.copyfile(path, night / "in" / path.name)
    did("report", "The history so far")
    did("confirm", "Merge")
    did("confirm", "Measure again what is suspect")
    did("report", "Report")
    assert runner("verdict", "Summary").returncode == 1  # the other cell's job never was
    said = runner.summary.read_text()
    assert "1 as expected, 0 not, 1 without a result" in said
    assert "**Nothing was compared**" in said and f"`{rofs['cell']}` | 2 `passed` |" in said
    with History(tmp_path / "merged") as history, (night / "history.jsonl").open("rb") as file:
        history.import_(file)
        assert len(history.judged()) == 2
        samples = history.samples()
    assert [one.id for one in samples if one.run == "old"] == [old.id]
    measured = {one.metric.name for one in samples if one.cell == ramfs["cell"]}
    assert measured >= {"boot.instructions", "boot.wall", "size.kernel", "memory.minimum", "memory.used"}
    assert (night / "site/index.html").stat().st_size > 10_000
    did("issues", "One issue for one cause")
    assert "has no result" in log.read_text()
    # The next night finds what this one left.
    (night / f"tested-{rofs['slug']}.sqlite").unlink()
    did("cells", "Test", CELL=rofs["cell"], SLUG=rofs["slug"], PYTEST_ADDOPTS=f"{chosen} --reuse-check 0")
    again = (night / f"tested-{rofs['slug']}.xml").read_text()
    assert again.count('name="outcome" value="reused"') == 2 and "passed" in again
    exported = (night / f"tested-{rofs['slug']}.jsonl").read_text()
    assert exported.count('"outcome": "reused"') == 2 and '"outcome": "passed"' not in exported


def test_a_pull_requests_comparison_as_it_is_written(session: Session, tmp_path: Path) -> None:
    """Of this repository as it is with itself: both harnesses measure the same exact numbers of one kernel."""
    if not shutil.which("osv-harness"):
        pytest.skip("osv-harness is not in PATH")
    copy_of_the_repository(tmp_path / "harness")
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", *words], cwd=tmp_path / "harness", check=True)
    runner = Runner(loaded("pull-request.yml", "linux"), tmp_path, OSV_HARNESS_CACHE=str(session.cache.root))
    done = runner("compare", "A/B", BASE="HEAD", CELL="linux:qemu-ramfs")
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.search(r"(\d+) exact numbers, (\d+) the same by both", done.stdout)
    assert said and int(said[1]) == int(said[2]) > 10, done.stdout
