"""Nights that run by themselves: workflows, plans, summaries, issues; and one night's steps, run as written."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.ci import causes, issues, plan, results, same, summary, workflow
from harness.ci.issues import LABEL, Action
from harness.cli import main
from harness.errors import HarnessError
from harness.history.store import History
from harness.lab import Lab
from harness.matrix import Matrix, host_arch
from harness.measure import Environment, Metric, Sample, Version
from harness.regress import Finding

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github/workflows"
HOMES = (workflow.Home(), workflow.Home("osv", "me/osv-harness"))
OF_OSV, ALSO_OF_OSV = "osv:x86_64-qemu-rofs-all", "osv:x86_64-qemu-ramfs-all"
RUN = "https://ci.example/1"


def loaded(name: str, kernel: str = "osv", home: workflow.Home = HOMES[0]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(workflow.workflow(name, kernel, home, "osv-harness ci github"))
    return found


def run_steps(document: Mapping[str, Any], job: str | None = None) -> Iterable[dict[str, Any]]:
    for name, row in document["jobs"].items():
        if job in (None, name):
            yield from (step for step in row["steps"] if "run" in step)


# ---- the workflows ----


def test_the_workflows_of_this_repository_are_what_the_command_writes(tmp_path: Path) -> None:
    assert main(["ci", "github", "--output", str(tmp_path)]) == 0
    for name in workflow.NAMES:
        assert (WORKFLOWS / name).read_text() == (tmp_path / name).read_text(), "run `osv-harness ci github`"


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
    pages = {"issues": {"issues"}, "publish": {"pages", "id-token"}}
    assert {job: may for job, may in writing.items() if may} == (pages if name == "nightly.yml" else {})
    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in yaml.safe_dump(document)
    triggers = document[True]  # YAML reads `on` as a truth
    assert set(triggers) == ({"schedule", "workflow_dispatch"} if name == "nightly.yml" else {"pull_request"})
    checkouts = [
        step for row in document["jobs"].values() for step in row["steps"] if "checkout" in step.get("uses", "")
    ]
    assert checkouts
    assert not any(step["with"]["persist-credentials"] for step in checkouts)


def test_what_runs_is_what_the_steps_say_and_the_same_in_a_plain_shell() -> None:
    texts = workflow.steps()
    nightly = {step["run"].strip() for step in run_steps(loaded("nightly.yml"))}
    script = workflow.script("linux", "quick")
    for step in ("plan", "build", "measure", "test", "merge", "confirm", "report", "summary"):
        assert texts[step] in nightly
        assert texts[step] in script


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


# ---- the plan ----


def row(name: str, standing: str = "runs here", reason: str = "") -> dict[str, str]:
    return {"name": name, "standing": standing, "reason": reason}


def test_a_plan_builds_each_kernel_once_and_runs_what_runs_here() -> None:
    planned = plan.plan(
        Matrix.load(),
        [
            row(OF_OSV),
            row(ALSO_OF_OSV),
            row(f"{OF_OSV}+debug"),
            row("osv:x86_64-xen-rofs-all", "can't run on this host", "no Xen"),
            row("osv:aarch64-qemu-rofs-all"),
        ],
        "x86_64",
    )
    assert [one.cell for one in planned if one.runs] == [OF_OSV, ALSO_OF_OSV, f"{OF_OSV}+debug"]
    assert [one["cells"] for one in plan.builds(planned)] == [f"{OF_OSV} {ALSO_OF_OSV}", f"{OF_OSV}+debug"]
    assert len({one["slug"] for one in plan.cells(planned)}) == 3
    assert [one.reason for one in planned if not one.runs] == ["no Xen"]


def test_more_jobs_than_github_takes_are_refused() -> None:
    one = plan.plan(Matrix.load(), [row(OF_OSV)], "x86_64")[0]
    with pytest.raises(HarnessError, match="257 jobs"):
        plan.cells([replace(one, cell=f"{one.cell}{at}") for at in range(257)])


def test_a_plan_of_nothing_readable_is_an_error_and_not_an_empty_night(tmp_path: Path) -> None:
    (tmp_path / "matrix.json").write_text('[{"no": "name"}]')
    assert main(["ci", "plan", str(tmp_path / "matrix.json")]) == 2
    assert main(["ci", "summary", str(tmp_path)]) == 2


# ---- what came of it ----


def planned(*names: str, standing: str = "runs here", reason: str = "") -> list[plan.Planned]:
    return plan.plan(Matrix.load(), [row(name, standing, reason) for name in names], "x86_64")


def case(test: str, outcome: str = "failed", reason: str = "status 1", cell: str = OF_OSV) -> results.Case:
    return results.Case(cell, test, outcome, reason, outcome not in ("passed", "skipped"))


def good(*tests: str, cell: str = OF_OSV) -> list[results.Case]:
    return [case(test, "passed", cell=cell) for test in tests]


def test_a_cell_that_could_not_run_or_told_nothing_is_never_green() -> None:
    cannot = planned("osv:x86_64-xen-rofs-all", standing="can't run on this host", reason="no `Xen` | here")
    told = results.Night([*planned(OF_OSV, ALSO_OF_OSV), *cannot], good("a"))
    text = summary.summary(told)
    lines = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "✓" in lines[f"`{OF_OSV}`"]
    assert "⚠" in lines[f"`{ALSO_OF_OSV}`"]
    assert "✓" not in lines["`osv:x86_64-xen-rofs-all`"]
    assert lines["`osv:x86_64-xen-rofs-all`"].count("|") == 4
    assert lines["`osv:x86_64-xen-rofs-all`"].count("`") == 6
    assert not summary.green(told)
    assert summary.green(replace(told, planned=[*planned(OF_OSV), *cannot]))
    assert not summary.green(results.Night(cannot, []))
    assert not summary.green(results.Night(planned(OF_OSV), [case("a", "skipped")]))


def test_junit_is_read_with_its_errors_and_whatever_a_guest_wrote(tmp_path: Path) -> None:
    plan.write(planned(OF_OSV), tmp_path / "plan-x86_64.json")
    prop = '<property name="{}" value="{}"/>'
    told = "".join(
        prop.format(*pair)
        for pair in (("cell", OF_OSV), ("test", "t"), ("outcome", "crashed"), ("reason", "\u202e&lt;b&gt;"))
    )
    (tmp_path / "a.xml").write_text(
        f"<testsuites><testsuite><testcase><properties>{told}</properties><failure message='x'/></testcase>"
        "<testcase classname='tests.unit' name='gone'><error message='boom'/></testcase>"
        "<testcase classname='tests.unit' name='fine'/></testsuite></testsuites>"
    )
    first, second = results.night(tmp_path).cases
    assert (first.test, first.outcome, first.bad) == ("t", "crashed", True)
    assert "\u202e" not in first.reason
    assert (second.cell, second.reason, second.bad) == ("", "boom", True)
    (tmp_path / "a.xml").write_text("<testsuites>")
    with pytest.raises(HarnessError, match="no JUnit"):
        results.night(tmp_path)


# ---- causes and issues ----


def seen(cases: Iterable[results.Case], *cells: str, worse: Iterable[Finding] = ()) -> causes.Seen:
    findings = list(worse)
    samples = [sample(one.metric, one.cell) for one in findings]
    return causes.causes(results.Night(planned(*(cells or (OF_OSV,))), list(cases)), findings, samples)


def as_told(action: Action, number: int = 7, **more: Any) -> dict[str, Any]:
    """The issue that an action leaves, as `gh issue list --json` tells of it."""
    told = {"number": number, "title": action.title, "body": action.body, "labels": [{"name": LABEL}]}
    return {**told, "state": "OPEN", "stateReason": "", **more}


def verbs(now: causes.Seen, *rows: dict[str, Any]) -> list[tuple[str, int]]:
    wanted, _ = issues.actions(now, issues.ours(rows), RUN)
    return [(action.verb, action.number) for action in wanted]


def opened(now: causes.Seen) -> Action:
    (action,), _ = issues.actions(now, [], RUN)
    return action


def test_an_issue_lives_as_long_as_its_cause() -> None:
    failing = seen([case("a"), *good("b", "c", "d")])
    action = opened(failing)
    there = as_told(action)
    assert action.verb == "open"
    assert verbs(failing, there) == []  # told already
    assert verbs(seen(good("a", "b")), there) == [("close", 7)]
    assert verbs(seen(good("b")), there) == []  # it was not run: nothing is known
    both = seen(
        [case("a"), *good("b"), case("a", cell=ALSO_OF_OSV), *good("b", cell=ALSO_OF_OSV)], OF_OSV, ALSO_OF_OSV
    )
    assert verbs(both, there) == [("update", 7)]
    closed = as_told(action, state="CLOSED", stateReason="COMPLETED")
    assert verbs(failing, closed) == [("reopen", 7)]
    assert verbs(seen(good("a")), closed) == []
    accepted = as_told(action, state="CLOSED", stateReason="NOT_PLANNED")
    assert verbs(failing, accepted) == []


def test_failures_of_one_cause_share_an_issue() -> None:
    crashes = [case(test, "crashed", f"page fault at {addr}") for test, addr in (("a", "0x10"), ("b", "0x2f"))]
    rest = good("c", "d", "e", "f")
    assert len(seen([*crashes, *rest]).causes) == 1
    assert len(seen([case("a"), case("b"), *rest]).causes) == 2
    broken = seen([case(test, "boot_failed") for test in "abcdef"])
    assert [one.members for one in broken.causes] == [frozenset({causes.key("cell", OF_OSV)})]
    silent = seen(good("a"), OF_OSV, ALSO_OF_OSV)
    assert ["no result" in one.title for one in silent.causes] == [True]
    assert verbs(seen(good("a")), as_told(opened(broken))) == [("close", 7)]


def test_a_night_that_breaks_everything_opens_ten_issues() -> None:
    wanted, left_out = issues.actions(
        seen([case(f"t{at}") for at in range(13)] + good(*map(str, range(40)))), [], RUN
    )
    assert (len(wanted), left_out) == (issues.MOST_NEW, 3)


def test_only_our_own_issues_are_touched() -> None:
    action = opened(seen([case("a"), *good("b")]))
    now = seen(good("a"))
    assert verbs(now, as_told(action, labels=[])) == []
    assert verbs(now, as_told(action, body="<!-- osv-harness cause=zz members=--> -->")) == []
    with pytest.raises(HarnessError, match="no list of issues"):
        issues.ours([{"number": 1}])


HOSTILE = "`x` @everyone #1 $(rm -rf /) --> | <img src=x> \u202e\x1b[2J https://evil.example ](x)"


def test_a_guests_words_are_no_markup_and_no_mark() -> None:
    action = opened(seen([case("tst-a.so", "failed", HOSTILE), *good("b")]))
    text = action.body
    assert text.count("<!--") == text.count("osv-harness cause=") == 1
    told = next(line for line in text.splitlines() if "everyone" in line)
    inside = told.split("`")[1::2]
    assert any("@everyone" in span for span in inside)
    assert "everyone" not in "".join(told.split("`")[0::2])
    odd = opened(seen([case(HOSTILE), *good("b")]))
    assert not set(odd.title) & set("`@#$|!&*[]~\x1b\u202e\n")


HERE = Environment("h", "c", 2, "none", "tcg", "QEMU 8", "6")
METRIC = Metric("boot.instructions", "instructions", exact=True)


def version(name: str) -> Version:
    return Version(name * 12, name, name, 1.0)


def sample(metric: Metric, cell: str, value: float = 1.0, taken: float = 1.0) -> Sample:
    return Sample(metric, value, cell, "", version("a"), HERE, "r", taken)


def step(old: float, new: float, cell: str = OF_OSV, after: str = "b") -> Finding:
    change = (new - old) / old
    return Finding(METRIC, cell, "", version("a"), version(after), old, new, change, (change, change), 0.0, (1, 1))


def test_what_became_worse_is_one_issue_a_commit_until_it_came_back() -> None:
    worse = [step(100, 110), step(100, 120, ALSO_OF_OSV)]
    now = seen(good("a"), worse=worse)
    assert len(now.causes) == 1
    assert "+10%" in now.causes[0].title or "+20%" in now.causes[0].title
    there = as_told(opened(now))
    assert verbs(now, there) == []
    assert verbs(seen(good("a"), worse=[*worse, step(110, 101), step(120, 100, ALSO_OF_OSV)]), there) == [
        ("close", 7)
    ]
    assert verbs(seen(good("a"), worse=[*worse, step(110, 108)]), there) == []
    assert verbs(seen(good("a")), there) == []  # nothing was measured: nothing is known
    assert len(seen(good("a"), worse=[step(100, 110), step(110, 130, after="c")]).causes) == 2
    assert seen(good("a"), worse=[step(100, 90)]).causes == []


GH = """#!/bin/sh
printf '%s\\n' "$#" "$@" >> "$GH_LOG"
cat >> "$GH_LOG"
"""


def test_actions_reach_gh_as_arguments_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.ci import gh

    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    log = tmp_path / "log"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("GH_LOG", str(log))
    for verb, calls in (("open", 1), ("update", 1), ("reopen", 3), ("close", 2)):
        log.write_text("")
        gh.do(Action(verb, 5, "$(touch /tmp/x) `y`", "the body\n", "the comment\n"))
        said = log.read_text()
        assert said.count("issue\n") == calls
        assert ("$(touch /tmp/x) `y`\n" in said) == (verb != "close")
        assert ("the body\n" in said) == (verb != "close")
    (tmp_path / "gh").write_text("#!/bin/sh\necho 'HTTP 403' >&2; exit 1\n")
    with pytest.raises(HarnessError, match="HTTP 403"):
        gh.do(Action("close", 5, "t"))


def test_two_harnesses_must_take_the_same_exact_numbers(tmp_path: Path) -> None:
    a, b = [sample(METRIC, OF_OSV, 100.0)], [sample(METRIC, OF_OSV, 101.0)]
    assert same.differences(a, a) == (1, [])
    count, (found,) = same.differences(a, b)
    assert (count, found.worse) == (1, True)
    assert not same.differences(b, a)[1][0].worse
    with pytest.raises(HarnessError, match="no exact number"):
        same.differences(a, [])
    for name, samples in (("a", a), ("b", b)):
        with History(tmp_path / name) as history:
            history.add(samples)
    assert main(["ci", "same", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert main(["ci", "same", str(tmp_path / "b"), str(tmp_path / "a")]) == 0


# ---- one night, step by step ----


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


def test_a_nights_steps_as_they_are_written(lab: Lab, tmp_path: Path) -> None:
    """On the linux kernel, with two tests of one cell; what jobs hand on is where the artefacts' steps put it."""
    if not shutil.which("osv-harness"):
        pytest.skip("osv-harness is not in PATH")
    arch = host_arch()
    document = loaded("nightly.yml", "linux")
    document["env"]["SET"] = "quick"
    copy_of_the_repository(tmp_path / "harness")
    night, bin_folder, log = tmp_path / "harness/night", tmp_path / "bin", tmp_path / "gh-log"
    bin_folder.mkdir()
    (bin_folder / "gh").write_text(GH_OF_A_NIGHT)
    (bin_folder / "gh").chmod(0o755)
    old = Sample(METRIC, 5.0, f"linux:{arch}-qemu-rofs-all", "", version("a"), HERE, "old", 1.0)
    with History(tmp_path / "old.sqlite") as history, (tmp_path / "old.jsonl").open("wb") as file:
        history.add([old])
        history.export(file)
    runner = Runner(
        document, tmp_path, ARCH=arch, PATH=f"{bin_folder}:{os.environ['PATH']}", OLD=str(tmp_path / "old.jsonl"),
        GH_LOG=str(log), GH_REPO="me/x", GH_TOKEN="", BRANCH="main", OSV_HARNESS_CACHE=str(lab.cache.root),
    )  # fmt: skip

    def did(job: str, name: str, **environment: str) -> None:
        done = runner(f"{job}-{arch}" if job not in ("report", "issues", "verdict") else job, name, **environment)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    did("plan", "Ask which cells run on this runner")
    told = runner.outputs()
    (build,) = told["builds"]
    assert [cell["cell"] for cell in told["cells"]] == build["cells"].split()
    did("build", "Build once", CELLS=build["cells"], BUILD=build["name"])
    rofs, _ = told["cells"]
    chosen = '-k "stress-ng-access] or stress-ng-brk]"'
    did("cells", "Test", CELL=rofs["cell"], SLUG=rofs["slug"], PYTEST_ADDOPTS=chosen)
    (night / "in").mkdir()
    for path in (*night.glob("plan-*"), *night.glob("tested-*.*ml"), *night.glob("tested-*.jsonl")):
        shutil.copyfile(path, night / "in" / path.name)
    did("report", "The history so far")
    did("confirm", "Merge")
    did("confirm", "Measure again what is suspect")
    did("report", "Report")
    assert runner("verdict", "Summary").returncode == 1  # the other cell's job never was
    said = runner.summary.read_text()
    assert "1 as expected, 0 not, 1 without a result" in said
    assert "Every test" in said
    with History(tmp_path / "merged") as history, (night / "history.jsonl").open("rb") as file:
        history.import_(file)
        assert len(history.judged()) == 2
        assert [one.id for one in history.samples()] == [old.id]
    assert (night / "site/index.html").stat().st_size > 10_000
    did("issues", "One issue for one cause")
    assert "has no result" in log.read_text()
