"""Listens and serves until told to stop, and then stops at once: a write in progress is complete or not made."""

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
from types import FrameType

import uvicorn

from harness.core.errors import HarnessError, HostError
from harness.integrations.server.app import app_of
from harness.integrations.server.services import Services

LAST_PORT = 65535
END_SECONDS = 1
"""For responses in progress when it is told to stop."""

MOST_REQUESTS = 500
"""In progress at once; further ones are told to retry."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `HostError` if that is impossible."""
    if not 0 <= port <= LAST_PORT:
        raise HarnessError(f"There is no port {port}.", f"Ports are 0 (a free one) to {LAST_PORT}.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise _no_listener(host, port, error) from error


def _no_listener(host: str, port: int, error: Exception) -> HostError:
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    where = f"{host}:{port}"
    match number:
        case errno.EADDRINUSE:
            return HostError(f"The port {where} is taken.", "Give another --port (0: a free one).")
        case errno.EACCES:
            return HostError(f"The port {where} is root's.", "Give a --port from 1024 on.")
    return HostError(f"{host!a} is no address of this host.", "Give --listen an address of this host.")


def is_loopback(host: str) -> bool:
    """Whether only this host can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(listener: socket.socket) -> str:
    """The URL of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Server(uvicorn.Server):
    """A server whose event streams end when it is told to stop."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._house = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to stop."""
        super().handle_exit(sig, frame)
        self._house.watch.stop()


def serve(services: Services, listener: socket.socket) -> None:
    """Serve until SIGINT (raises `KeyboardInterrupt`) or SIGTERM (ends the process by it)."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app_of(services), log_config=None, access_log=False, lifespan="on", ws="none", http="h11", loop="asyncio",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=END_SECONDS,
        limit_concurrency=MOST_REQUESTS,
    )  # fmt: skip
    try:
        asyncio.run(_Server(config, services).serve(sockets=[listener]))
    except KeyboardInterrupt:
        _end_now(130)
        raise


def _end_now(status: int) -> None:
    """Exit without waiting for threads that wait for a database, if there are any."""
    alive = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if alive:
        sys.stdout.flush()
        os._exit(status)


