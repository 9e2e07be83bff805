"""MySQL's protocol by PyMySQL.

Rows: `query`, and its expected `rows`: a list of lists, whose values are compared as text. `user`, `password` and
`database` are the login; each user keeps one connection per login.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pymysql

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.schedule import Task

Login = tuple[str, str, str]


class Sql:
    """Its connections, opened again after a failure; every query is its own transaction."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._connections: dict[Login, pymysql.Connection] = {}

    def connect(self) -> None:
        """Log in for every row."""
        for row in self._task.requests:
            self._connected(_login(row))

    def disconnect(self) -> None:
        """Close all connections."""
        while self._connections:
            with suppress(pymysql.Error, OSError):
                self._connections.popitem()[1].close()

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Query, and read all rows."""
        login, query = _login(row), row["query"]
        wanted = [list(map(_plain, line)) for line in row["rows"]] if "rows" in row else None

        def ask() -> int:
            try:
                with self._connected(login).cursor() as cursor:
                    cursor.execute(query)
                    received = [list(map(_plain, line)) for line in cursor.fetchall()]
            except (pymysql.ProgrammingError, pymysql.DataError, pymysql.IntegrityError) as error:
                raise WrongAnswer(f"error answer: {error.args[0]}") from error
            if wanted not in (None, received):
                raise WrongAnswer("wrong answer")
            return sum(len(str(value)) for line in received for value in line)

        return ask

    def _connected(self, login: Login) -> pymysql.Connection:
        if login not in self._connections:
            task = self._task
            self._connections[login] = pymysql.connect(
                host=task.host, port=task.port, user=login[0], password=login[1], database=login[2] or None,
                connect_timeout=task.timeout, read_timeout=task.timeout, write_timeout=task.timeout,
                autocommit=True,
            )  # fmt: skip
        return self._connections[login]


def _login(row: Mapping[str, Any]) -> Login:
    return row.get("user", "root"), row.get("password", ""), row.get("database", "")


def _plain(value: Any) -> Any:
    return value if value is None else str(value)


CLIENT: type[Client] = Sql
