"""One run of the harness that has a guest with Redis on a tap device: test_networks.py starts several at once.

Its arguments are a cell and a word. When the guest keeps the word, it prints one line of JSON: the process, and
the port of 127.0.0.1 that leads to Redis. It has the guest end when a line comes, and prints the outcome.
"""

import json
import sys

from harness import catalog
from harness.apps import app
from harness.apps.answers import complaint
from harness.apps.run import image_of
from harness.hypervisors import hypervisor
from harness.lab import Lab
from harness.programs import Program
from harness.programs.linux import LinuxRunner
from harness.programs.osv import OsvRunner
from harness.programs.visit import Visit, Visitor

NAME = "redis"
LONG = 600.0  # seconds


def main(name: str, word: str) -> None:
    """Not by `Lab.run`, which waits until a host has a cpu for each guest."""
    lab = Lab()
    cell = lab.cell(name)
    redis = app(NAME, cell)
    image, accelerator = image_of(lab, cell, redis), lab.accelerator(cell)
    driver, scale = hypervisor(cell.hypervisor), catalog.scale(accelerator)
    runner = (
        LinuxRunner(image, driver, accelerator, lab.cache, scale)
        if cell.kernel == "linux"
        else OsvRunner(image, driver, accelerator, lab.cache)
    )
    program = Program(
        NAME, redis.command, limit=120, memory=redis.memory, network=True, forwards=(redis.port,),
        environment=tuple(redis.environment.items()),
    )  # fmt: skip

    def get_ready(visitor: Visitor) -> None:
        keep = {"send": f"SET word {word}\r\n", "answer": "+OK\r\n"}
        while complaint(keep, visitor.ports[redis.port]) and not visitor.gone.wait(0.1):
            pass

    def act(visitor: Visitor) -> None:
        print(json.dumps({"pid": visitor.pid, "port": visitor.ports[redis.port]}), flush=True)
        sys.stdin.readline()
        visitor.ask_to_end()

    run = runner.run(program, Visit(act=act, get_ready=get_ready, ready_limit=LONG, act_limit=LONG))
    print(json.dumps({"outcome": run.verdict.outcome, "reason": run.verdict.reason}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
