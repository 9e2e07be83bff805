"""Databases for the tests of the history: a PostgreSQL server of our own, that nothing else can reach."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

SERVER_SECONDS = 120
"""To start after a kill: it writes every file of its folder to the disk first, which a busy disk makes slow."""


class Postgresql:
    """One server: a socket in a folder that only its user can enter, no port, and its end with the test's."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.folder = folder
        self._programs = programs
        self._data = folder / "data"
        # It refuses to run as root.
        self._as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else ["setpriv"]
        self._server: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make an empty cluster whose superuser is `postgres`; a user named `locked` needs a password."""
        words = ["-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        command = [*self._as_user, "--", str(self._programs / "initdb"), *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        rules = self._data / "pg_hba.conf"
        rules.write_text("local all locked scram-sha-256\n" + rules.read_text())

    def start(self) -> None:
        """Start it and wait until it answers; after a kill its children may need a moment to be gone."""
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "shared_buffers=16MB")
        words = [word for setting in settings for word in ("-c", setting)]
        command = [*self._as_user, "--pdeathsig", "KILL", "--", str(self._programs / "postgres")]
        late = time.monotonic() + SERVER_SECONDS
        with (self.folder / "log").open("ab") as log:
            while time.monotonic() < late:
                if self._server is None or self._server.poll() is not None:
                    self._server = subprocess.Popen(
                        [*command, "-D", str(self._data), *words], cwd=self.folder, stdout=log, stderr=log
                    )
                if self._answers():
                    return
                time.sleep(0.05)
        pytest.fail(f"PostgreSQL does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.words("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def words(self, database: str) -> str:
        """libpq's connection string."""
        return f"host={self.folder} user=postgres dbname={database}"

    def url(self, database: str, user: str = "postgres") -> str:
        """The history's URL."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def new(self) -> str:
        """The URL of a new, empty database."""
        name = f"history_{uuid4().hex}"
        with psycopg.connect(self.words("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def verify(self, url: str) -> None:
        """Read every table and index of the database, and compare the two."""
        name = url.partition("@/")[2].partition("?")[0]
        command = [str(self._programs / "pg_amcheck"), "--install-missing", "--heapallindexed", "-d", name]
        where = ["-h", str(self.folder), "-U", "postgres"]
        done = subprocess.run([*command, *where], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr

    def kill(self) -> None:
        """As a power cut does it, but for what the disk was about to write."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def stop(self) -> None:
        """End it and its clients' connections at once: nobody needs its data any more."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            try:
                self._server.wait(SERVER_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def private_postgresql() -> Iterator[Postgresql]:
    """A running server, gone afterwards; skips the test where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    if not found:
        pytest.skip("PostgreSQL's server is not installed: no initdb (apt-get install postgresql)")
    # Not in pytest's own folder: its parents are closed to the server's user, and a socket's path may be 107 long.
    folder = Path(tempfile.mkdtemp(prefix="osv-harness-postgresql-"))
    user = None
    if os.getuid() == 0:
        user = "postgres"
        shutil.chown(folder, user, user)
    server = Postgresql(found[-1].parent, folder, user)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
