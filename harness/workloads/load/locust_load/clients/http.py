"""HTTP by geventhttpclient, the client of locust's FastHttpUser.

Rows: `method` (GET), `path` (/), `headers` and `send` (a body) make the request; `status` (200), `body` (all of
it), `contains` (a part of it) and `length` (bytes) describe the right answer. Redirects are not followed.
"""

from collections.abc import Mapping
from typing import Any

import geventhttpclient.client
from geventhttpclient import HTTPClient

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.schedule import Task

# If a connection breaks, the client would silently repeat a request up to eleven times: a server that resets
# connections would pass. It repeats only these methods.
geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


class Http:
    """One connection, kept while the server keeps it; without FastHttpUser's session, which costs 30 µs per
    request."""

    def __init__(self, task: Task) -> None:
        self._http = HTTPClient(
            task.host, task.port, network_timeout=task.timeout, connection_timeout=task.timeout
        )

    def connect(self) -> None:
        """Open the connection that the first request uses."""
        pool = self._http._connection_pool
        pool.return_socket(pool.get_socket())

    def disconnect(self) -> None:
        """Does nothing: geventhttpclient drops broken connections itself."""

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Request a path and check the response."""
        method, path, send = row.get("method", "GET"), row.get("path", "/"), row.get("send", "").encode()
        headers, status, length = row.get("headers"), row.get("status", 200), row.get("length")
        body = row["body"].encode() if "body" in row else None
        contains = row.get("contains", "").encode()

        def ask() -> int:
            response = self._http.request(method, path, send, headers)
            received = response.read()
            if response.get_code() != status:
                raise WrongAnswer(f"status {response.get_code()}")
            if body not in (None, received) or contains not in received or length not in (None, len(received)):
                raise WrongAnswer("wrong body")
            return len(received)

        return ask


CLIENT: type[Client] = Http
