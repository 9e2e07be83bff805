"""Locust's users against real servers of their protocols: right answers, wrong ones, errors, refusals."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
from load_server import Running

from harness.core.arch import host_arch
from harness.host import debian_packages
from harness.runner.session import Session
from harness.workloads.load.run import Result, Second, load_from, run

Row = dict[str, object]


def mariadb(folder: Path, port: int) -> list[str]:
    """MariaDB with a root who needs no password."""
    data = folder / "data"
    made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    done = subprocess.run([*made, "--auth-root-authentication-method=normal"], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return ["mariadbd", "--no-defaults", f"--datadir={data}", "--user=root", f"--port={port}",
            "--bind-address=127.0.0.1", f"--socket={folder}/socket"]  # fmt: skip


SERVERS: dict[str, Callable[[Path, int], list[str]]] = {
    "redis": lambda folder, port: ["redis-server", "--port", f"{port}", "--bind", "127.0.0.1", "--save", "",
                                   "--dir", str(folder)],
    "memcached": lambda _, port: ["memcached", "-l", "127.0.0.1", "-p", f"{port}", "-u", "root"],
    "mqtt": lambda _, port: ["mosquitto", "-p", f"{port}"],
    "sql": mariadb,
}  # fmt: skip
PACKAGES = {"redis": "redis-server", "memcached": "memcached", "mqtt": "mosquitto"}
FOLDERS = ("usr/bin", "usr/sbin")

ROWS: dict[str, tuple[list[Row], list[tuple[Row, str]]]] = {
    "redis": (
        [{"command": ["SET", "k{n}", "{n}"], "answer": "OK"},
         {"command": ["LPUSH", "list", "x"]},
         {"command": ["INCR", "number"]},
         {"pipeline": [["SET", "a", "1"], ["GET", "a"], ["MGET", "a", "none"]],
          "answers": ["OK", "1", ["1", None]]}],
        [({"command": ["PING"], "answer": "PANG"}, "wrong answer"),
         ({"pipeline": [["NONE"], ["PING"]]}, "error answer: unknown command")],
    ),
    "memcached": (
        [{"set": "k{n}", "value": "{n}"}, {"set": "k", "value": "v"}],
        [({"get": "none"}, "wrong answer"), ({"set": "a b", "value": "v"}, "MemcacheIllegalInputError")],
    ),
    "mqtt": ([{"topic": "a/b", "payload": "{n}" * 100}, {"topic": "c"}], [({"topic": "#"}, "connection closed")]),
    "sql": (
        [{"query": "SELECT {n}, 'x', NULL", "rows": [["{n}", "x", None]]},
         {"query": "SELECT 1.5, 2", "rows": [[1.5, 2]]}],
        [({"query": "SELECT 1", "rows": [[2]]}, "wrong answer"), ({"query": "SELEKT"}, "error answer: 1064"),
         ({"query": "SELECT 1", "user": "nobody"}, "OperationalError: (1045")],
    ),
}  # fmt: skip


def _not_installed(package: str, command: list[str], session: Session) -> list[str]:
    """The command with Debian's program out of its unpacked package: installing one would start its service."""
    root = debian_packages.fetch((package,), host_arch(), session.cache).root
    program = next(path for folder in FOLDERS if (path := root / folder / command[0]).exists())
    loader = next((root / "lib").glob("*-linux-gnu/ld-linux-*.so.*"))
    libraries = [*(root / "lib").glob("*-linux-gnu"), *(root / "usr/lib").glob("*-linux-gnu")]
    return [str(loader), "--library-path", ":".join(map(str, libraries)), str(program), *command[1:]]


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, session: Session
) -> Iterator[tuple[str, int]]:
    """A protocol and the port of a real server that speaks it."""
    protocol = request.param
    if protocol == "sql" and shutil.which("mariadbd") is None:
        pytest.skip("mariadbd is not installed; apps/mariadb.toml has this user in a guest")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = SERVERS[protocol](tmp_path_factory.mktemp(protocol), port)
    if protocol in PACKAGES:
        command = _not_installed(PACKAGES[protocol], command, session)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = monotonic() + 60
        while monotonic() < until and process.poll() is None:
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
                break
            sleep(0.1)
        yield protocol, port
    finally:
        process.kill()
        process.wait()


def asked_of(protocol: str, port: int, *rows: Row, **more: object) -> Result:
    load = load_from("x", {"tool": "locust", "user": protocol, "users": 2, "rate": 50.0, "duration": 1.0,
                           "requests": rows, **more})  # fmt: skip
    return run(load, "127.0.0.1", port)


def test_right_answers(server: tuple[str, int]) -> None:
    protocol, port = server
    result = asked_of(protocol, port, *ROWS[protocol][0])
    assert (result.requests, result.failures, result.error) == (50, {}, "")
    assert 10 < result.percentile(50) < 1e6


def test_wrong_answers_and_errors(server: tuple[str, int]) -> None:
    protocol, port = server
    for row, kind in ROWS[protocol][1]:
        result = asked_of(protocol, port, row)
        assert not result.error
        assert not result.requests
        (said,) = result.failures
        assert said.startswith(kind)
        assert result.failures[said] == 50


def test_refused(server: tuple[str, int]) -> None:
    protocol, _ = server
    result = asked_of(protocol, 1, ROWS[protocol][0][0])
    assert (result.failures, result.error) == ({"refused": 50}, "")


def test_bytes_over_tcp() -> None:
    live: list[Second] = []
    server = Running("tcp")

    def seen(second: Second) -> None:
        live.append(second)
        server.process.kill()

    right = {"send": "hello {n}\n", "answer": "hello {n}\n"}
    assert asked_of("tcp", server.port, right).requests == 50
    assert asked_of("tcp", server.port, {"send": "hello", "answer": "hallo"}).failures == {"wrong answer": 50}
    load = load_from("x", {"tool": "locust", "user": "tcp", "rate": 50.0, "duration": 3.0, "requests": [right]})
    result = run(load, "127.0.0.1", server.port, on_second=seen)
    server.process.communicate()
    assert set(result.failures) <= {"connection reset", "connection closed", "refused"}
    assert result.requests + sum(result.failures.values()) == 150
    assert live[-1] == result.by_second[-1]
    assert live[-1].failures == 50
