"""The farm's processes on dask.distributed: scheduler, workers, and the client's connection.

Source: distributed.dask.org, "Scheduler", "Worker Resources", "TLS/SSL".
"""

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed import Client, Scheduler, Security, Worker

from harness.core.errors import HarnessError, HostError
from harness.host.cache import Cache

LOOPBACK = "127.0.0.1"
LAST_PORT = 65535
PLENTY = 1 << 20
"""How much of each capability a worker offers: never used up."""

NO_PAGE = f"{LOOPBACK}:0"
"""Where dask's own status pages listen: a free port on loopback that nobody is told."""

CONNECT_SECONDS = 20
WORKER_DEATHS = 5
"""How many workers may end while they hold a task, before it is given up."""

CLIENT_SILENT_SECONDS = 600
"""A client that reads nothing for so long is gone. Until then it may be a suspended laptop, or be given no cpu.
dask's own limit is 30 seconds."""

SILENT_SECONDS = 60
"""A worker that is silent for so long counts as lost: its machine is gone. The end of a process is seen at
once."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files that authenticate the farm's members: the authority's certificate, the own certificate and
    key."""

    ca: Path
    cert: Path
    key: Path


def security(tls: Tls | None) -> Security | None:
    """The same for dask. Raises `HarnessError` if a file is missing."""
    if tls is None:
        return None
    for path in (tls.ca, tls.cert, tls.key):
        if not path.is_file():
            raise HarnessError(f"There is no file {path}.", "Name PEM files with --tls-ca, --tls-cert, --tls-key.")
    cert, key = str(tls.cert), str(tls.key)
    return Security(
        tls_ca_file=str(tls.ca), require_encryption=True, tls_client_cert=cert, tls_client_key=key,
        tls_scheduler_cert=cert, tls_scheduler_key=key, tls_worker_cert=cert, tls_worker_key=key,
    )  # fmt: skip


def check_address(address: str, tls: Tls | None) -> str:
    """Return the host of `tcp://HOST:PORT` or `tls://HOST:PORT`. Raises `HarnessError` if the address is
    neither."""
    wanted = "tls" if tls else "tcp"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in ("tcp", "tls"):
        raise HarnessError(f"{address!r} is no address of a farm.", f"Write {wanted}://HOST:PORT.")
    if parts.scheme != wanted:
        cure = "Give --tls-ca, --tls-cert and --tls-key." if tls is None else "Write tls://HOST:PORT."
        raise HarnessError(f"{address} does not go with what was given for TLS.", cure)
    return host


def serve_scheduler(listen: str, port: int, task_timeout: float, tls: Tls | None) -> None:
    """Be the farm's scheduler until stopped. A task that no worker can run is given up after `task_timeout`
    seconds."""
    settings = {
        "distributed.scheduler.allowed-failures": WORKER_DEATHS,
        "distributed.scheduler.no-workers-timeout": f"{task_timeout} s",
        "distributed.scheduler.worker-ttl": f"{SILENT_SECONDS} s",
        "distributed.comm.timeouts.tcp": f"{CLIENT_SILENT_SECONDS} s",
    }
    known = security(tls)
    if not 0 <= port <= LAST_PORT:
        raise HarnessError(f"There is no port {port}.", f"Ports are 0 (a free one) to {LAST_PORT}.")

    async def serve() -> None:
        async with Scheduler(
            host=listen, port=port, protocol="tls" if tls else "tcp", dashboard=False, dashboard_address=NO_PAGE,
            security=known,
        ) as scheduler:  # fmt: skip
            print(f"the farm is at {scheduler.address}", flush=True)
            await scheduler.finished()

    _log(logging.WARNING)
    with dask.config.set(settings):
        try:
            asyncio.run(serve())
        except (OSError, RuntimeError) as error:
            raise _no_listener(f"{listen}:{port}", error) from error


def _no_listener(where: str, error: Exception) -> HostError:
    """The error for its reader, from the system's error that dask wraps. Raises other errors unchanged."""
    cause: BaseException | None = error
    while not isinstance(cause, OSError):
        if cause is None:
            raise error
        cause = cause.__cause__
    words = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else str(cause)
    wrong_host = isinstance(cause, socket.gaierror) or cause.errno == errno.EADDRNOTAVAIL
    cure = "Give --listen an address of this host." if wrong_host else "Give another --port."
    if cause.errno == errno.EACCES:
        cure = "Give a --port from 1024 on: those below are root's."
    return HostError(f"Nothing can listen at {where}: {words}.", cure)


def serve_worker(
    address: str, listen: str, name: str, capabilities: Collection[str], cache: Cache, tls: Tls | None
) -> None:
    """Work for the farm, one task at a time, until stopped or until the scheduler is gone.

    The worker is one process without a nanny: whoever kills it also kills its guests, which die with their thread.
    """
    host, known = check_address(address, tls), security(tls)
    if _is_loopback(listen) and not _is_loopback(host):
        raise HarnessError(
            f"The farm at {address} can't reach a worker that listens on {listen}.",
            "Give --listen an address of this host in the farm's network, which must be one that you trust.",
        )

    try:
        socket.create_server((listen, 0)).close()  # dask would log a traceback beside its error
    except OSError as error:
        raise _no_listener(listen, error) from error

    async def serve() -> None:
        async with Worker(
            address, nthreads=1, name=name, resources=dict.fromkeys(capabilities, PLENTY), host=listen,
            dashboard_address=NO_PAGE, memory_limit=0, local_directory=str(cache.scratch("farm")), security=known,
            death_timeout=CONNECT_SECONDS,
        ) as worker:  # fmt: skip
            print(f"{worker.name} works for {address}", flush=True)
            await worker.finished()

    _log(logging.WARNING)
    try:
        asyncio.run(serve())
    except (OSError, TimeoutError) as error:
        raise _unreachable(address) from error
    # A task may still run whose result nobody waits for: its guest ends with its thread.
    os._exit(0)


def connect(address: str, tls: Tls | None) -> Client:
    """Connect as a client. Raises `HarnessError` if nothing answers there."""
    check_address(address, tls)
    known = security(tls)
    _log(logging.CRITICAL)  # errors are reported for each task, without a traceback
    try:
        return Client(address, security=known, timeout=f"{CONNECT_SECONDS} s", name=f"osv-harness-{os.getpid()}")
    except (OSError, TimeoutError) as error:
        raise _unreachable(address) from error


def _log(level: int) -> None:
    """Set dask's log level."""
    for name in ("distributed", "distributed.client"):  # dask gives the latter a level of its own
        logging.getLogger(name).setLevel(level)


def _unreachable(address: str) -> HarnessError:
    return HarnessError(f"No farm answers at {address}.", "Start one: osv-harness farm scheduler")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
