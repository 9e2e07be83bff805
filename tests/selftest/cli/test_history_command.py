"""The command `osv-harness history`: shows text as text, and merges what two runners measured."""

from dataclasses import replace
from pathlib import Path

import pytest
from history_records import VERSION, document, judged, sample

from harness.cli import main
from harness.metrics.history.store import History


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "history.sqlite")


def test_the_command_shows_text_as_text(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSV_HARNESS_HISTORY", file)
    assert main(["history", "show"]) == main(["history", "runs"]) == 0
    assert "no such samples" in capsys.readouterr().out
    with History(file) as history:
        history.add([sample(subject="\x1b[2J[red]\u202eevil\x07", value=123456789.0, run="[bold]run\n")])
        history.add([sample(version=replace(VERSION, described=""), taken=1e300, value=0.123456789)])
    assert main(["history", "show", "--metric", "boot.*", "--last", "5"]) == main(["history", "runs"]) == 0
    said = capsys.readouterr().out
    assert r"[red]\u202eevil\x07" in said and "123,456,789" in said and "0.123457" in said
    assert "[bold]run" in said and "\x1b" not in said
    for url, told in (
        (file, file),
        ("postgresql://u:secret@host.invalid/db", "postgresql://u:***@host.invalid/db"),
    ):
        assert main(["history", "path", "--history", url]) == 0
        assert capsys.readouterr().out == f"{told}\n"


def test_the_command_merges_two_runners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runners = [str(tmp_path / name) for name in ("one", "other")]
    exports = [tmp_path / f"{name}.jsonl" for name in ("one", "other")]
    for runner, export in zip(runners, exports, strict=True):
        with History(runner) as history:
            history.add([sample(), judged(), document()])
        assert main(["history", "export", str(export), "--history", runner]) == 0
    team = ["--history", str(tmp_path / "team")]
    capsys.readouterr()
    for counts in ("3 records new, 0 known", "0 records new, 3 known"):
        assert main(["history", "import", *map(str, exports), *team]) == 0
        assert capsys.readouterr().out.count(counts) == 2
    exports[0].write_bytes(exports[0].read_bytes()[:-5])
    assert main(["history", "import", str(exports[0]), *team]) == 2
    assert "one.jsonl: Line 3 is cut off" in capsys.readouterr().err
    assert main(["history", "export", str(tmp_path / "no/where"), *team]) == 2
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["one.jsonl", "other.jsonl"]
    assert not list(tmp_path.glob(".*"))
    assert main(["history", "export", *team]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
