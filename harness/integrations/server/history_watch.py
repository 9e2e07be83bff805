"""Waits for a history to grow: told by PostgreSQL, looked at in SQLite, whose file says at once whether it did."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress

import psycopg
from sqlalchemy import URL

from harness.metrics.history.url import is_file

CHANNEL = "osv_harness_history"
"""What step 0003 notifies."""

LOOK_SECONDS = 0.5
"""Between two looks at a file: `PRAGMA data_version` reads a few bytes."""

AGAIN_SECONDS = 2.0
SURE_SECONDS = 60.0
"""After which waiters are woken without a word: a connection may be dead without anybody's knowing."""


class Watch:
    """Tells tasks of one loop that the history may have grown. `number` counts how often."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._event = asyncio.Event()
        self.number = 0
        self.stopped = False

    def tell(self) -> None:
        """Wake all who wait."""
        self.number += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    def stop(self) -> None:
        """Wake all, for the last time."""
        self.stopped = True
        self.tell()

    async def changed(self, seen: int) -> int:
        """Wait until `number` is another than the one that was seen, or all ends; returns it."""
        while self.number == seen and not self.stopped:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), SURE_SECONDS)
                continue
            return self.number
        return self.number

    async def run(self) -> None:
        """Watch until cancelled."""
        changes = self._of_file if is_file(self._url) else self._of_server
        while True:
            with suppress(psycopg.Error, sqlite3.Error, OSError):
                async for _ in changes():
                    self.tell()
            await asyncio.sleep(AGAIN_SECONDS)
            self.tell()  # what came meanwhile was not told

    async def _of_file(self) -> AsyncIterator[None]:
        path = str(self._url.database)
        with closing(sqlite3.connect(path)) as connection:
            last = None
            while True:
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if now != last:
                    last = now
                    yield
                await asyncio.sleep(LOOK_SECONDS)

    async def _of_server(self) -> AsyncIterator[None]:
        words = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(words, autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield  # what came before it listened
            async for _ in connection.notifies():
                yield
