"""The progress line of a pytest run of guests, as a real pytest session writes it."""

from pathlib import Path

import pytest

from harness.integrations.pytest_plugin import progress

ENDINGS = """
import pytest

@pytest.mark.parametrize("outcome, end", [
    ("passed", None), ("failed", pytest.xfail), ("failed", pytest.xfail), ("hung", pytest.xfail),
    ("flaky", pytest.xfail), ("failed", pytest.fail), ("passed", pytest.fail), ("skipped", pytest.skip),
    ("passed", None),
])
def test_one(outcome, end, record_property):
    record_property("outcome", outcome)
    if end:
        end("because")
"""


class Told:
    """Registers the tally as the harness's plugin does, with every line of it shown."""

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        session.config.pluginmanager.register(progress.ProgressReporter(session.config, {}))


def test_expected_failures_are_not_counted_as_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "ESTIMATE_FROM", 0.5)
    (tmp_path / "test_endings.py").write_text(ENDINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    words = ["-p", "no:cacheprovider", "-p", "no:xdist", "-c", f"{tmp_path}/pytest.ini", str(tmp_path)]
    assert pytest.main(words, plugins=[Told()]) == pytest.ExitCode.TESTS_FAILED
    lines = [line for line in capsys.readouterr().out.splitlines() if " run: " in line]
    assert lines[0].endswith("1 passed"), "of one test in nine, no time that is left can be told"
    assert lines[-1].startswith(
        "8 of 9 run: 2 failed as expected, 1 passed, 1 hung as expected, 1 flaky, 1 failed, "
        "1 passed unexpectedly, 1 skipped; about "
    )
