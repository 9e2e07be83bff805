"""What each load generator drives from one cpu: on nginx and redis-server of this host, on another cpu."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import median
from time import sleep

from harness.workloads.load.run import Load, Result, load_from, run

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
events {{ }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello\\n"; }} }}
}}
"""
SECONDS = 2.0
HTTP = {"requests": [{"path": "/", "body": "hello\n"}]}
REDIS = {"requests": [{"command": ["SET", "k", "v"]}]}
CHECKED_REDIS = {"requests": [{"command": ["SET", "k", "v"], "answer": "OK"}]}
LOADS = {
    "nginx": [
        load_from("wrk, 16 connections", {"tool": "wrk", "users": 16, **HTTP}),
        load_from("locust, 16 users", {"tool": "locust", "user": "http", "users": 16, **HTTP}),
        load_from("locust, 500/s", {"tool": "locust", "user": "http", "users": 16, "rate": 500, **HTTP}),
    ],
    "redis": [
        load_from("redis-benchmark, 16 clients", {"tool": "redis-benchmark", "users": 16, **REDIS}),
        load_from("locust, 16 users", {"tool": "locust", "user": "redis", "users": 16, **CHECKED_REDIS}),
        load_from("locust, 500/s", {"tool": "locust", "user": "redis", "users": 16, "rate": 500, **CHECKED_REDIS}),
    ],
}


def load(rounds: int) -> None:
    """Print a table of all generators, each run so many times, in turns: medians, and the requests for which a
    second of the generator's cpu time is enough."""
    servers, ours = sorted(os.sched_getaffinity(0))[:2]
    results: dict[tuple[str, str], list[Result]] = {}
    with tempfile.TemporaryDirectory() as folder, _nginx(Path(folder), servers) as nginx, _redis(servers) as redis:
        os.sched_setaffinity(0, {ours})
        for _ in range(rounds):
            for server, port in (("nginx", nginx), ("redis", redis)):
                for one in LOADS[server]:
                    results.setdefault((server, one.name), []).append(_run(one, port))
    print("| server | generator | requests/s (most) | p50 µs | p99 µs | lag p99 µs | a cpu second | limited |")
    print("|---|---|---|---|---|---|---|---|")
    for (server, name), rows in results.items():
        rates = [row.throughput for row in rows]
        p50, p99 = (median(row.percentile(p) for row in rows) for p in (50, 99))
        lag = median(row.generator.schedule_lag_p99 for row in rows)
        driven = median(row.throughput / row.generator.cpu_share for row in rows)
        limited = sum(row.generator.limited for row in rows)
        print(
            f"| {server} | {name} | {median(rates):.0f} ({max(rates):.0f}) | {p50:.0f} | {p99:.0f} "
            f"| {f'{lag:.0f}' if lag else '-'} | {driven:.0f} | {limited} of {len(rows)} |"
        )


def _run(one: Load, port: int) -> Result:
    result = run(one, "127.0.0.1", port, duration=SECONDS)
    if result.error or result.failures:
        raise SystemExit(f"{one.name}: {result.error or result.failures}")
    return result


@contextmanager
def _server(command: list[str], port: int, cpu: int) -> Iterator[int]:
    """A server on one cpu, until the end of the block."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", "taskset", "-c", f"{cpu}", *command]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
                break
            sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def _nginx(folder: Path, cpu: int) -> Iterator[int]:
    port = _free_port()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port))
    with _server(["nginx", "-p", str(folder), "-c", f"{folder}/conf"], port, cpu):
        yield port


@contextmanager
def _redis(cpu: int) -> Iterator[int]:
    port = _free_port()
    with _server(["redis-server", "--port", f"{port}", "--bind", "127.0.0.1", "--save", ""], port, cpu):
        yield port


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
