"""Offers a guest's debug connection, which the harness holds, to gdb, as a socket in a private folder."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host.temp_dir import temporary_dir


@contextmanager
def gdb_socket(debug: socket.socket) -> Iterator[Path]:
    """The path of a socket that is connected to the guest's debug stub while the block runs, for one gdb."""
    with temporary_dir("osv-harness-gdb-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = folder / "gdb"
        server.bind(str(path))
        server.listen(1)
        ended, end = socket.socketpair()
        with ended, end:
            joining = threading.Thread(target=_join, args=(server, debug, ended), daemon=True)
            joining.start()
            try:
                yield path
            finally:
                end.close()
                joining.join()


def _join(server: socket.socket, debug: socket.socket, ended: socket.socket) -> None:
    """Pass bytes between gdb and the stub until one of them ends, or the block does."""
    if ended in select.select([server, ended], [], [])[0]:
        return
    gdb, _ = server.accept()
    with gdb:
        while ended not in (ready := select.select([gdb, debug, ended], [], [])[0]):
            for source in ready:
                try:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    (debug if source is gdb else gdb).sendall(data)
                except OSError:
                    return
