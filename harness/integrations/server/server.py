"""Listens, serves until it is told to end, and ends at once: what is being kept then is kept, or is not."""

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
from harness.integrations.server.services import House

LAST_PORT = 65535
END_SECONDS = 1
"""For answers under way when it is told to end."""

MOST_REQUESTS = 500
"""Under way at once; more are told to come again."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `HostError` where nothing can."""
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
    """Whether only this host reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(listener: socket.socket) -> str:
    """The URL of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Server(uvicorn.Server):
    """A server whose streams end when it is told to."""

    def __init__(self, config: uvicorn.Config, house: House) -> None:
        super().__init__(config)
        self._house = house

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        super().handle_exit(sig, frame)
        self._house.watch.stop()


def serve(house: House, listener: socket.socket) -> None:
    """Serve until SIGINT (raises `KeyboardInterrupt`) or SIGTERM (ends the process as it does)."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app_of(house), log_config=None, access_log=False, lifespan="on", ws="none", http="h11", loop="asyncio",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=END_SECONDS,
        limit_concurrency=MOST_REQUESTS,
    )  # fmt: skip
    try:
        asyncio.run(_Server(config, house).serve(sockets=[listener]))
    except KeyboardInterrupt:
        _end_now(130)
        raise


def _end_now(status: int) -> None:
    """End without waiting for threads that wait for a database, where there are any."""
    alive = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if alive:
        sys.stdout.flush()
        os._exit(status)


