"""Short loads of HTTP requests, and the servers that they are put on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shutil import which

import pytest
from load_server import Running

from harness.workloads.load.run import Load, Result, load_from, run

GOOD = {"path": "/", "body": "hello\n"}


@contextmanager
def serving() -> Iterator[Callable[[str], Running]]:
    """Starts servers of a protocol; ends them."""
    servers = []

    def start(protocol: str = "http") -> Running:
        servers.append(Running(protocol))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.communicate()


def http(*requests: dict[str, object], tool: str = "locust", **more: object) -> Load:
    """A load of HTTP requests, short."""
    return load_from("x", {"tool": tool, "user": "http", "duration": 1.0, "requests": requests or [GOOD], **more})


def asked_of(port: int, *requests: dict[str, object], **more: object) -> Result:
    """What became of a load on a server."""
    return run(http(*requests, **more), "127.0.0.1", port)


def needs(program: str) -> None:
    """Skip where a generator is not installed."""
    if program != "locust" and which(program) is None:
        pytest.skip(f"{program} is not installed")
