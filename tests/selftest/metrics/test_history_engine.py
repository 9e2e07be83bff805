"""Where a history is, and what is said where it can't be opened or written: an error, its cure, and no secret."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from history_places import Postgresql, private_postgresql
from history_records import sample

from harness.cli import main
from harness.core.errors import HarnessError
from harness.metrics.history.store import History


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with private_postgresql() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "history.sqlite")


def test_the_default_is_a_private_folder_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSV_HARNESS_HISTORY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with History() as history:
        assert history.where == str(tmp_path / "osv-harness/history.sqlite")
    assert (tmp_path / "osv-harness").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(tmp_path / "named"))
    assert History().where == str(tmp_path / "named")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", "can't be reached"),
        ("postgresql://u:secret@host.invalid/db", "can't be reached"),
        ("postgresql://u:secret@host:port/db", "URL can't be read"),
        ("postgresql://u:a@secret@host/db", "more than one @"),
        ("postgresql:///db?host=/nowhere&password=secret", "can't be reached"),
        ("mysql://u:secret@host/db", "in no other database"),
        ("/proc/nowhere/history.sqlite", "can't be made"),
        ("/proc/version", "can't be locked"),
        (__file__, "no SQLite database"),
        ("/", "can't be opened"),
    ],
)
def test_a_history_that_cant_be_opened_is_an_error_with_a_cure(
    url: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "runs", "--history", url]) == 2
    words = capsys.readouterr().err
    assert said in words.splitlines()[0] and words.splitlines()[1]
    assert "secret" not in words and "Traceback" not in words


def test_a_server_that_refuses_is_an_error_with_a_cure(server: Postgresql) -> None:
    with pytest.raises(HarnessError, match="does not exist"):
        History(server.url("nothing"))
    with pytest.raises(HarnessError, match=r"no password supplied|password authentication failed"):
        History(server.url("postgres", "locked").replace("locked@", "locked:secret@"))
    History(server.new().replace("postgres@", "postgres:unasked@")).close()


def test_another_programs_database_is_left_alone(file: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    before = Path(file).read_bytes()
    with pytest.raises(HarnessError, match="is another program's database"):
        History(file)
    assert Path(file).read_bytes() == before


def test_a_full_disk_is_an_error_and_what_was_there_stays(tiny_disk: Path) -> None:
    with History(tiny_disk / "history.sqlite") as history:
        first = sample()
        history.add([first])
        with pytest.raises(HarnessError, match="no space left"):
            history.add(sample() for _ in range(20_000))
        assert history.samples() == [first]
        assert history.add([sample()]) == 1


def test_a_read_only_disk_is_an_error(tiny_disk: Path) -> None:
    path = tiny_disk / "history.sqlite"
    History(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(HarnessError, match=r"can't be (opened|written)"), History(path) as history:
        history.add([sample()])
    with pytest.raises(HarnessError, match=r"can't be (opened|written|locked)"):
        History(tiny_disk / "new.sqlite")


def test_a_folder_of_another_user_is_an_error(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    History(tmp_path / "history.sqlite").close()
    tmp_path.chmod(0o700)
    words = (
        "import os, sys; from harness.core.errors import HarnessError\n"
        "from harness.metrics.history.store import History\n"
        "os.setuid(65534)\n"
        "for name in ('history.sqlite', 'new.sqlite', 'new/history.sqlite'):\n"
        "    try: History(sys.argv[1] + '/' + name)\n"
        "    except HarnessError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", words, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.count("can't be opened") + done.stdout.count("can't be made") == 3
