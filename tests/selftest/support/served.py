"""A server of `osv-harness serve` in a process of its own, on a free port of loopback, and a client of it.

The client sends exactly the path and the headers that it is given: browsers and libraries mend what is wrong.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

LONG = 600.0  # seconds; only a server that hangs needs them
HARNESS = (sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main())")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body, as text."""
        return self.body.decode()


class Server:
    """The process; `url` is its address."""

    def __init__(self, words: Path, *arguments: str, **settings: str) -> None:
        self._words = words
        with words.open("w") as file:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *HARNESS, "serve", "--port", "0", *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env={**os.environ, **settings},
            )  # fmt: skip
        self.url = self._said(r" is at (http://127.0.0.1:\d+/)")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2].strip("/"))

    @property
    def words(self) -> str:
        """What it has said."""
        return self._words.read_text()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; `_` in a header's name is `-`, an empty one is not sent."""
        given = {"Host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): to for name, to in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """The JSON of an answer, which must be one."""
        answer = self.ask(path, **headers)
        assert answer.status == 200, (path, answer)
        return answer.json

    def post(self, path: str, body: object, **headers: str) -> Answer:
        """A request with a body and, unless another is given, the server's token."""
        if "X_CSRF_Token" not in headers:
            headers["X_CSRF_Token"] = self.get("/api/session")["token"]
        headers.setdefault("Content_Type", "application/json")
        return self.ask(path, "POST", json.dumps(body).encode(), **headers)

    def facts(self) -> Any:
        """The facts, as soon as they are made."""
        deadline = time.monotonic() + LONG
        while (answer := self.ask("/api/facts")).status == 503:
            assert "ImportError" not in answer.text and "Traceback" not in self.words, (answer, self.words)
            assert time.monotonic() < deadline, answer
        return answer.json

    def streamed(self, path: str) -> socket.socket:
        """A connection that has asked, and is to be read by the caller."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return connection

    def end(self, how: int = signal.SIGINT) -> int:
        """End it; its status."""
        self.popen.send_signal(how)
        return self.popen.wait(LONG)

    def _said(self, pattern: str) -> str:
        deadline = time.monotonic() + LONG
        while not (found := re.search(pattern, self.words)):
            assert self.popen.poll() is None, self.words
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return found[1]


@contextmanager
def served(folder: Path, history: str, *arguments: str, **settings: str) -> Iterator[Server]:
    """A server, which is gone afterwards."""
    server = Server(folder / f"serve-{time.monotonic_ns()}.txt", "--history", history, *arguments, **settings)
    try:
        yield server
    finally:
        server.popen.kill()
        server.popen.wait()
