"""Passes bytes between inherited listening sockets and ports of a guest; runs as a separate program.

Its arguments are the guest's address and a pair DESCRIPTOR:PORT for each port.
"""

import asyncio
import socket
import sys
from contextlib import suppress

CHUNK = 1 << 16
CONNECT_SECONDS = 30.0


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on data until the end, and then send the end to the other side."""
    with suppress(OSError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def serve(address: str, server: socket.socket, port: int) -> None:
    """Connect every client with the port of the address; a client that the guest refuses is closed."""

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            there = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_SECONDS)
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
            there[1].close()
        writer.close()

    await (await asyncio.start_server(join, sock=server)).serve_forever()


async def main(address: str, pairs: list[str]) -> None:
    """Serve all pairs until killed."""
    wanted = [pair.split(":") for pair in pairs]
    await asyncio.gather(*(serve(address, socket.socket(fileno=int(fd)), int(port)) for fd, port in wanted))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
