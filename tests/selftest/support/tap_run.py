"""One run of the harness that has a guest with Redis on a tap device: test_networks.py starts several at once.

Its arguments are a cell and a word. When the guest keeps the word, it prints one line of JSON: the process, and
the port of 127.0.0.1 that leads to Redis. It has the guest end when a line comes, and prints the outcome.
"""

import json
import subprocess
import sys
from contextlib import suppress

from networks_here import network_of

from harness.core.cell import Cell
from harness.runner import catalog
from harness.runner.base import Program
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.vm.registry import hypervisor
from harness.workloads.apps.app import app
from harness.workloads.apps.checks import mismatch
from harness.workloads.apps.run import image_of

NAME = "redis"
LONG = 600.0  # seconds


class Running:
    """This program as a process of its own, with one guest."""

    def __init__(self, cell: Cell, word: str) -> None:
        self.word = word
        self.said: dict[str, int] = {}
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(cell), word],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def read(self) -> None:
        """Wait until its guest has the word."""
        assert self.process.stdout
        self.said = json.loads(self.process.stdout.readline())
        assert "pid" in self.said, self.said

    def network(self) -> str:
        """The network namespace that its guest is in."""
        return network_of(str(self.said["pid"]))

    def asked(self) -> str:
        """What is wrong with the word that its guest keeps; nothing if it is its own."""
        wanted = {"send": "GET word\r\n", "answer": f"${len(self.word)}\r\n{self.word}\r\n"}
        return mismatch(wanted, self.said["port"], 60)

    def ended(self) -> dict[str, str]:
        """Have its guest end, and hear how it did."""
        assert self.process.stdout
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said: dict[str, str] = json.loads(self.process.stdout.readline())
        assert self.process.wait(60) == 0
        return said


def main(name: str, word: str) -> None:
    """Not by `Session.run`, which waits until a host has a cpu for each guest."""
    session = Session()
    cell = session.cell(name)
    redis = app(NAME, cell)
    image, accelerator = image_of(session, cell, redis), session.accelerator(cell)
    driver, scale = hypervisor(cell.hypervisor), catalog.scale(accelerator)
    runner = (
        LinuxRunner(image, driver, accelerator, session.cache, scale)
        if cell.kernel == "linux"
        else OsvRunner(image, driver, accelerator, session.cache)
    )
    program = Program(
        NAME, redis.command, limit=120, memory=redis.memory, network=True, forwards=(redis.port,),
        environment=tuple(redis.environment.items()),
    )  # fmt: skip

    def wait_ready(client: GuestClient) -> None:
        keep = {"send": f"SET word {word}\r\n", "answer": "+OK\r\n"}
        while mismatch(keep, client.ports[redis.port]) and not client.gone.wait(0.1):
            pass

    def act(client: GuestClient) -> None:
        print(json.dumps({"pid": client.pid, "port": client.ports[redis.port]}), flush=True)
        sys.stdin.readline()
        client.request_end()

    run = runner.run(program, Interaction(act=act, wait_ready=wait_ready, ready_limit=LONG, act_limit=LONG))
    print(json.dumps({"outcome": run.verdict.outcome, "reason": run.verdict.reason}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
