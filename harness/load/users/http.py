"""HTTP by FastHttpUser's client, geventhttpclient.

Rows: `method` (GET), `path` (/), `headers`, `send` (a body) are asked; `status` (200), `body` (all of it),
`contains` (a part of it) and `length` (bytes) are what a right answer has. Redirects are not followed.
"""

from collections.abc import Mapping
from typing import Any

import geventhttpclient.client
from geventhttpclient import HTTPClient
from locust import FastHttpUser

from harness.load.users.asker import Asker, Question, Wrong

# The client would send a request again, up to eleven times and without a word, when a connection breaks: a server
# that resets connections would pass. It does so for these methods only.
geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()


class HttpUser(Asker, FastHttpUser):
    """One connection, kept while the server keeps it; without FastHttpUser's session, which takes 30 µs each."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        task = self.course.task
        self.host = f"http://{task.host}:{task.port}"
        self.network_timeout = self.connection_timeout = task.patience
        super().__init__(environment)
        self._http: HTTPClient = self.client.client.clientpool.get_client(self.host)

    def connect(self) -> None:
        """Open the connection that the first request takes."""
        pool = self._http._connection_pool
        pool.return_socket(pool.get_socket())

    def question(self, row: Mapping[str, Any]) -> Question:
        """Ask for a path and look at what comes."""
        method, path, send = row.get("method", "GET"), row.get("path", "/"), row.get("send", "").encode()
        headers, status, length = row.get("headers"), row.get("status", 200), row.get("length")
        body = row["body"].encode() if "body" in row else None
        contains = row.get("contains", "").encode()

        def ask() -> int:
            response = self._http.request(method, path, send, headers)
            came = response.read()
            if response.get_code() != status:
                raise Wrong(f"status {response.get_code()}")
            if body not in (None, came) or contains not in came or length not in (None, len(came)):
                raise Wrong("wrong body")
            return len(came)

        return ask


USER = HttpUser
