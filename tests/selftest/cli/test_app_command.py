"""`osv-harness app`: what it prints, what it leaves, what it says to a mistake."""

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.report.load_results import PERCENTILES
from harness.workloads.apps import app as apps


def test_a_run_leaves_its_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "app run nginx --cell linux:qemu-rofs --load steady --duration 2 --json --runs"
    assert main([*words.split(), str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["test"], said["outcome"], said["origin"]) == ("nginx", "passed", "booted")
    (load,) = said["loads"]
    assert load["requests"] > 100 and load["failures"] == {} and load["mode"] == "constant rate"
    assert [load[f"p{percent:g}"] for percent in PERCENTILES] == sorted(
        load[f"p{percent:g}"] for percent in PERCENTILES
    )
    (folder,) = tmp_path.glob("*/linux-*/nginx")
    (result,) = json.loads((folder / "loads.json").read_text())
    assert sum(second["requests"] for second in result["by_second"]) == load["requests"]
    assert (folder / "loads.svg").read_text().startswith("<?xml")


def test_a_list_names_every_app(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", "ls", "--cell", "linux:qemu-rofs"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:] if not line.startswith(" ")]
    assert set(listed) == set(apps.names())


def test_a_new_apps_first_draft_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["app", "new", "greet", "--package", "hello"]) == 0
    assert main(["app", "run", "greet", "--cell", "linux:qemu-rofs", "--runs", str(tmp_path / "runs")]) == 0
    (console,) = (tmp_path / "runs").glob("*/*/greet/console.txt")
    assert "Hello, world!" in console.read_text()
    capsys.readouterr()
    assert main(["app", "new", "greet", "--package", "hello"]) == 2
    assert "There is an app greet already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("app run ngnix --cell linux:qemu-rofs", "The nearest are: nginx"),
        ("app run nginx --cell linux:qemu-rofs --load stedy", "There are: steady"),
        ("app run nginx --cell linux:qemu-rosf", "rofs"),
        ("app new ../x --package hello", "no name for an app"),
        ("build linux:qemu-rofs --app redsi", "The nearest are: redis"),
    ],
)
def test_a_mistake_is_explained(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_a_build_says_what_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "linux:qemu-rofs", "--app", "redis", "--files"]) == 0
    said = capsys.readouterr().out
    assert "/usr/bin/redis-server: " in said and "redis-server  " in said and "bytes in" in said
