"""A server that answers well or in each of the ways in which a guest may not: `load_server.py PROTOCOL ROOM`.

ROOM is how many connections may wait at its port until it takes them. It prints its port, serves http, redis
(RESP) or tcp (echo) on loopback, and ends with its parent. HTTP: the path says what becomes of a request; any
other path is its own answer.
"""

import asyncio
import itertools
import signal
import socket
import struct
import subprocess
import sys
from time import sleep


class Running:
    """This program as a process of its own, with the port that it answers on."""

    def __init__(self, protocol: str, room: int = 500) -> None:
        command = [sys.executable, __file__, protocol, f"{room}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def freeze(self, after: float, seconds: float) -> None:
        """Stop it, and let it go on after some seconds."""
        sleep(after)
        self.process.send_signal(signal.SIGSTOP)
        sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


NOW = struct.pack("ii", 1, 0)


class Server(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.came = b""

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
        self.transport.abort()


class Http(Server):
    resets = itertools.cycle([True, False])

    def data_received(self, data: bytes) -> None:
        self.came += data
        while b"\r\n\r\n" in self.came:
            head, _, self.came = self.came.partition(b"\r\n\r\n")
            self.answer(head.split()[1].decode())

    def answer(self, path: str) -> None:
        status, body = "200 OK", "hello\n"
        if path == "/reset" or (path == "/sometimes-reset" and next(self.resets)):
            return self.reset()
        if path == "/close":
            return self.transport.close()
        if path == "/half":
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return self.transport.close()
        if path == "/never":
            return None
        if path.startswith("/after/"):  # so many seconds
            asyncio.get_running_loop().call_later(float(path[7:]), self.answer, "/")
            return None
        if path.startswith("/status/"):
            status = f"{path[8:]} x"
        elif path != "/":
            body = path[1:]
        self.transport.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return None


class Redis(Server):
    """Whole commands only, which is how they come on loopback; knows PING, ECHO and CONFIG."""

    def data_received(self, data: bytes) -> None:
        for command in data.split(b"*")[1:]:
            name, *words = command.split(b"\r\n")[2::2]
            said = {
                b"PING": b"+PONG\r\n",
                b"CONFIG": b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n",
                b"ECHO": b"$%d\r\n%s\r\n" % (len(words[0]), words[0]) if words else b"",
            }.get(name.upper(), b"-ERR unknown command\r\n")
            self.transport.write(said)


class Echo(Server):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def main(protocol: str, room: int) -> None:
    loop = asyncio.get_running_loop()
    made = {"http": Http, "redis": Redis, "tcp": Echo}[protocol]
    server = await loop.create_server(made, "127.0.0.1", 0, backlog=room)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The other end of standard input closes when the test is over, however it ends.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
