"""Waits for a history to grow: PostgreSQL notifies; SQLite's file is polled."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress

import psycopg
from sqlalchemy import URL

from harness.metrics.history.url import is_file

CHANNEL = "osv_harness_history"
"""The channel that migration 0003 notifies."""

POLL_SECONDS = 0.5
"""Between two polls of a file: `PRAGMA data_version` reads a few bytes."""

RETRY_SECONDS = 2.0
WAKE_SECONDS = 60.0
"""Waiters are woken after so long without a notification: a connection may be dead unnoticed."""


class Watch:
    """Notifies tasks of one event loop that the history may have grown. `number` counts the notifications."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._event = asyncio.Event()
        self.number = 0
        self.stopped = False

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self.number += 1
        event, self._event = self._event, asyncio.Event()
        event.set()

    def stop(self) -> None:
        """Wake all waiting tasks for the last time."""
        self.stopped = True
        self.notify()

    async def wait(self, seen: int) -> int:
        """Wait until `number` differs from `seen`, or the server stops; returns it."""
        while self.number == seen and not self.stopped:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), WAKE_SECONDS)
                continue
            return self.number
        return self.number

    async def run(self) -> None:
        """Watch until cancelled."""
        changes = self._of_file if is_file(self._url) else self._of_server
        while True:
            with suppress(psycopg.Error, sqlite3.Error, OSError):
                async for _ in changes():
                    self.notify()
            await asyncio.sleep(RETRY_SECONDS)
            self.notify()  # records of the meantime caused no notification

    async def _of_file(self) -> AsyncIterator[None]:
        path = str(self._url.database)
        with closing(sqlite3.connect(path)) as connection:
            last = None
            while True:
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if now != last:
                    last = now
                    yield
                await asyncio.sleep(POLL_SECONDS)

    async def _of_server(self) -> AsyncIterator[None]:
        words = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(words, autocommit=True)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            yield  # records from before LISTEN
            async for _ in connection.notifies():
                yield
