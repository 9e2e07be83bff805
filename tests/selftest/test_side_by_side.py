"""Two runs at once on one host, with one cache and one folder for evidence, do not disturb each other."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.runner.session import Session

TESTS = ("stress-ng-zero", "stress-ng-tee", "stress-ng-sockpair", "stress-ng-timer")
ID = "from harness.core.run_id import new_run_id; print(new_run_id())"


def test_two_runs_of_one_moment_have_ids_of_their_own() -> None:
    """Else the evidence of one would be written over the other's, and their verdicts be one run's in a history."""
    runs = [subprocess.Popen([sys.executable, "-c", ID], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({run.communicate()[0] for run in runs}) == len(runs)


def test_two_runs_at_once_reach_the_same_verdicts(session: Session, tmp_path: Path) -> None:
    session.runner(session.cell("linux:qemu-rofs")).prepare()
    command = [sys.executable, "-m", "pytest", "tests/unit", "--cell", "linux:qemu-rofs", "-n", "2", "-q"]
    command += ["-k", " or ".join(TESTS), "--runs", str(tmp_path / "runs"), "-p", "no:cacheprovider"]
    top = Path(__file__).parents[2]
    told = [tmp_path / f"{number}.xml" for number in range(2)]
    runs = [
        subprocess.Popen([*command, "--junitxml", str(xml)], cwd=top, stdout=subprocess.PIPE, text=True)
        for xml in told
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert _verdicts(told[0]) == _verdicts(told[1])
    assert set(TESTS) <= set(_verdicts(told[0]))


def _verdicts(xml: Path) -> dict[str, str]:
    """The outcome of each in-guest test of a run."""
    cases = [
        {row.attrib["name"]: row.attrib["value"] for row in case.iterfind("properties/property")}
        for case in ET.parse(xml).iter("testcase")
    ]
    return {case["test"]: case["outcome"] for case in cases}
