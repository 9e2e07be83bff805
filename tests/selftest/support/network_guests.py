"""Processes with a guest: `python network_guests.py ask CELL` asks a server outside; `boot CELL` never stops."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from harness.core.cell import Cell
from harness.core.machine import Image, Machine
from harness.kernels.rootfs.contents import Contents
from harness.runner.base import Program
from harness.runner.machine_setup import apply_profile
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.registry import hypervisor
from harness.workloads.apps.app import Source
from harness.workloads.apps.compile import compile_program

PORT = 7000
OUTSIDE = "198.51.100.1"  # an address for documentation: RFC 5737
ASK = Source(Path(__file__).parents[1] / "data/guest_programs" / "ask.c", "c", "/usr/bin/ask")


def in_a_network_of_its_own(cell: str) -> dict[str, Any]:
    """What the console of a guest shows that asks a server of a network that stands for this host's."""
    link = f"ip link add outside type bridge; ip addr add {OUTSIDE}/24 dev outside; ip link set outside up"
    script = f'PATH=$PATH:/usr/sbin; ip link set lo up; {link}; exec "$@"'
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *own, "--net", "sh", "-c", script, "sh", sys.executable, __file__, "ask", cell]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def ask(name: str) -> None:
    """What `in_a_network_of_its_own` runs: a server, and a guest that asks it."""
    server = socket.create_server((OUTSIDE, PORT))

    def serve() -> None:
        while True:
            line, _ = server.accept()
            with closing(line), suppress(OSError):
                line.sendall(b"from outside\n")

    threading.Thread(target=serve, daemon=True).start()
    session = Session()
    cell = session.cell(name)
    program = Program("asks", f"{ASK.program} {OUTSIDE} {PORT}", 120, good_statuses=(0, 1))
    run = session.run_on(image_that_asks(session, cell), program)
    console = bytes(run.transcript.raw).decode("utf-8", "replace")
    ended = run.verdict.outcome is Outcome.PASSED
    print(json.dumps({"ended": ended, "reason": run.verdict.reason, "console": console}))


def booting(cell: Cell) -> "subprocess.Popen[bytes]":
    """`boot` as a process of its own, which is there to be killed."""
    return subprocess.Popen([sys.executable, __file__, "boot", str(cell)], stdout=subprocess.PIPE)


def boot(name: str) -> None:
    """Start guests, one after another; say when the first is about to start."""
    session = Session()
    image = session.image(session.cell(name))
    machine = apply_profile(Machine(image, image.cmdline, forwards=(PORT,)), "", session.cache)
    print("starting", flush=True)
    while True:
        with closing(hypervisor("qemu").start(machine)):
            time.sleep(0.1)


def image_that_asks(session: Session, cell: Cell) -> Image:
    made = {ASK.program: compile_program(ASK, cell.arch, session.cache)}
    return session.image_with(cell, Contents(packages=("libc6",), made=made, programs=(ASK.program,)))


if __name__ == "__main__":
    {"ask": ask, "boot": boot}[sys.argv[1]](sys.argv[2])
