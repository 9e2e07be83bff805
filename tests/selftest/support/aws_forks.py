"""The real `aws`, imported once: each command is a fork of it, at a tenth of what its imports cost.

As a program it serves at the socket that it is given; `installed` writes the `aws` that asks it.
"""

import array
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from executable import executable

from harness.host.process.die_with_parent import die_with_parent

LONGEST = 1 << 20
ASK = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    words = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    server.sendmsg([words], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(8) or 255))
"""


@contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """A folder with an `aws` for PATH, which works inside the block."""
    path = folder / "server"
    executable(folder / "aws", ASK.format(python=sys.executable, path=str(path)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = die_with_parent([sys.executable, __file__, str(listener.fileno())])
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as server:
            try:
                yield folder
            finally:
                server.kill()


def serve(listener: socket.socket) -> None:
    """Answer for ever, with a fork of this process for each command."""
    from awscli.clidriver import create_clidriver

    driver = create_clidriver()
    models = driver.session.get_component("data_loader")
    for service in ("ec2", "ebs"):
        models.load_service_model(service, "service-2")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        asker, _ = listener.accept()
        if os.fork() == 0:
            status = 255
            try:
                status = run(driver, asker)
            finally:
                asker.sendall(str(status).encode())
                os._exit(0)
        asker.close()


def run(driver: object, asker: socket.socket) -> int:
    """Run what is asked for, with its environment and its output; returns its exit status."""
    words, ancillary, _, _ = asker.recvmsg(LONGEST, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    while more := asker.recv(LONGEST):
        words += more
    for own, given in enumerate(array.array("i", ancillary[0][2])):
        os.dup2(given, own)
    arguments, folder, environment = json.loads(words)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    try:
        return driver.main(arguments)  # type: ignore[attr-defined]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
