"""memcached's text protocol by pymemcache.

Rows: `set`, a key, and the `value` to store; or `get`, a key, and the `value` that it must have (if none is given,
any).
"""

from collections.abc import Mapping
from typing import Any

from pymemcache.client import base

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.schedule import Task


class Memcached:
    """One connection, opened again after a failure."""

    def __init__(self, task: Task) -> None:
        self._client = base.Client(
            (task.host, task.port), connect_timeout=task.timeout, timeout=task.timeout, no_delay=True
        )

    def connect(self) -> None:
        """Ask for the version, which connects."""
        self._client.version()

    def disconnect(self) -> None:
        """Close it; the next request connects again."""
        self._client.close()

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Set a key, or get one."""
        value = row["value"].encode() if "value" in row else None
        if "set" in row:
            return lambda: self._set(row["set"], value or b"")
        return lambda: self._get(row["get"], value)

    def _set(self, key: str, value: bytes) -> int:
        if not self._client.set(key, value, noreply=False):
            raise WrongAnswer("wrong answer")
        return 0

    def _get(self, key: str, value: bytes | None) -> int:
        received = self._client.get(key)
        if received is None or value not in (None, received):
            raise WrongAnswer("wrong answer")
        return len(received)


CLIENT: type[Client] = Memcached
