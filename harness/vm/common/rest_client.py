"""A client for HTTP with JSON over a hypervisor's unix socket: one request at a time, with a time limit."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic
from typing import Any

from harness.core.errors import HypervisorError
from harness.core.text import one_line
from harness.host.in_lab import lab_timeout
from harness.host.process.supervised import SupervisedProcess
from harness.host.process.timeout import CpuFairTimeout

ANSWER_SECONDS = 30.0
START_SECONDS = 10.0
"""Time limits of one answer and of the process's start; longer in a lab. The start's counts only time in which the
process could run."""
LONGEST_ANSWER = 1 << 20  # bytes
SHOWN = 600  # letters of what went wrong


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` begins with a slash."""

    method: str
    path: str
    body: Any = None


class Api:
    """A hypervisor's API on the socket at `path`; `base` is put before every request's path."""

    def __init__(self, name: str, path: Path, base: str = "") -> None:
        self._name = name
        self._path = path
        self._base = base

    def wait(self, process: SupervisedProcess, words: Callable[[], str]) -> None:
        """Wait until the process listens. Raises `HypervisorError` with its messages if it ends or stays
        silent."""
        timeout = CpuFairTimeout(process.pid, START_SECONDS)
        deadline = monotonic() + timeout.seconds()
        while True:
            try:
                with _connected(self._path, 1.0):
                    return
            except OSError as error:
                status = process.wait(0.005)
                if status is None and monotonic() >= deadline:
                    deadline = monotonic() + timeout.seconds()
                if status is None and monotonic() < deadline:
                    continue
                silent = f"its socket is silent: {error.strerror}"
                what = silent if status is None else process.describe(status)
                raise HypervisorError(
                    f"{self._name} did not start ({what}): {words() or 'without a word'}",
                    f"Its command was: {' '.join(process.command)}",
                ) from error

    def send(self, request: Request) -> Any:
        """Send the request; returns the answer's JSON, None without one. Raises `HypervisorError` with the API's
        message."""
        what = f"{request.method} {request.path}"
        limit = lab_timeout(ANSWER_SECONDS)
        connection = HTTPConnection("localhost", timeout=limit)
        try:
            connection.sock = _connected(self._path, limit)
            body = None if request.body is None else json.dumps(request.body)
            headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
            connection.request(request.method, self._base + request.path, body, headers)
            response = connection.getresponse()
            data = response.read(LONGEST_ANSWER)
        except TimeoutError as error:
            raise HypervisorError(f"{self._name} did not answer {what} within {limit:.0f} s.") from error
        except (OSError, HTTPException) as error:
            raise HypervisorError(f"{self._name} broke off at {what}: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise HypervisorError(f"{self._name} refused {what} with {response.status}: {_error_message(data)}")
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise HypervisorError(f"{self._name} answered {what} with no JSON: {_shown(data)}") from error

    def request_error(self, request: Request) -> str:
        """Why the request fails; empty if it succeeds."""
        try:
            self.send(request)
        except HypervisorError as error:
            return error.message
        return ""


def _connected(path: Path, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def _error_message(data: bytes) -> str:
    """The message of an error's body: Firecracker's object, Cloud Hypervisor's list of causes, or any text."""
    try:
        body = json.loads(data)
    except ValueError:
        return _shown(data)
    if isinstance(body, dict) and isinstance(body.get("fault_message"), str):
        return _shown(body["fault_message"])
    if isinstance(body, list) and all(isinstance(line, str) for line in body):
        return _shown("; ".join(body))
    return _shown(data)


def _shown(data: bytes | str) -> str:
    return one_line(data)[:SHOWN] or "without a word"
