"""OSv's own tests of its REST API (modules/httpserver-api/tests), run here against a guest that serves it."""

import json
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.host.process.supervised import SupervisedProcess
from harness.host.temp_dir import temporary_dir
from harness.runner.base import Program
from harness.runner.interaction import GuestClient, Interaction
from harness.workloads.apps.checks import mismatch

PORT = 8000
SCRIPT = Path(__file__).with_name("rest_api_script.py")
PYTHON = "/usr/bin/python3"
"""Debian's own, for which python3-requests is."""

MODULES = {"httpserver-api": "httpserver-api.fg", "httpserver-monitoring-api": "httpserver-monitoring-api.fg"}
"""What serves the API, to the module as OSv's `image=` takes it; the second has the part of it that only tells."""

WITH_OPENSSL = "httpserver-api"
"""The one whose image has openssl, which OSv takes from the host. Source: its module.py."""

FOLDERS = {"httpserver-api": "api", "httpserver-monitoring-api": "monitoring-api"}
COMMANDS = {
    "httpserver-api": "/libhttpserver-api.so",
    "httpserver-monitoring-api": "/libhttpserver-api.so --access-allow=true",
}
LEFT_OUT = {
    "testjvm": "it asks a JVM in the guest",
    "testjolokia": "it asks a JVM in the guest",
}
WANTS_MORE = {
    "test_put_file_cmd": "it writes",
    "test_file_upload": "it writes",
    "test_file_status_cmd": "it asks when a file was last read",
    "test_getfs": "it asks for 200000 free blocks",
}
"""What upstream's tests want of the root that only one that can be written has."""
READ_ONLY = ("rofs", "virtiofs")
"""Filesystems on which nothing can be written outside /tmp."""


def program(name: str) -> Program:
    """The guest that serves: of upstream's size, for its tests ask for four cpus and more than 256 MiB."""
    return Program(
        f"rest-{name}", COMMANDS[name], limit=60, cpus=4, memory=2048, network=True, forwards=(PORT,),
        good_statuses=(0,),
    )  # fmt: skip


def left_out(cell: Cell) -> dict[str, str]:
    """Parts of names of upstream's tests that this cell can't have, each with the reason."""
    if cell.fs not in READ_ONLY:
        return LEFT_OUT
    return LEFT_OUT | {test: f"{what}, and {cell.fs} is read-only" for test, what in WANTS_MORE.items()}


def visit(checkout: Path, name: str, cell: Cell) -> Interaction:
    """Run upstream's tests once the guest answers; what fails of them is what the guest is blamed for."""
    return Interaction(
        get_ready=wait_for_answer, act=lambda visitor: _run_tests(visitor, checkout, name, cell), act_limit=600
    )


def wait_for_answer(visitor: GuestClient) -> None:
    """Wait until the API answers rightly."""
    check = {"get": "/os/vendor", "body": '"Cloudius Systems"'}
    while wrong := mismatch(check, visitor.ports[PORT]):
        visitor.doing = f"waited for a right answer, and last got: {wrong}"
        if visitor.gone.wait(0.1):
            return


def _run_tests(visitor: GuestClient, checkout: Path, name: str, cell: Cell) -> None:
    visitor.doing = "ran OSv's tests of its REST API"
    asked = {
        "checkout": str(checkout), "listings": name, "folder": FOLDERS[name], "port": visitor.ports[PORT],
        "left out": left_out(cell),
    }  # fmt: skip
    with temporary_dir("osv-harness-rest-") as folder:
        out, command = folder / "results", [PYTHON, "-I", "-B", str(SCRIPT), json.dumps(asked)]
        with (
            out.open("wb") as results,
            SupervisedProcess(PYTHON, command, stdout=results.fileno(), cwd=folder) as process,
        ):
            while (status := process.wait()) is None and not visitor.gone.wait(0.2):
                pass
            ended = process.last_words()
        if visitor.gone.is_set():
            return
        rows = [json.loads(line) for line in out.read_text(errors="replace").splitlines() if line.startswith("{")]
    if status != 0 or not any(row["outcome"] != "skipped" for row in rows):
        raise HostError(f"OSv's tests of its REST API did not run: {ended}")
    for row in rows:
        if row["outcome"] == "failed":
            visitor.complain(f"{row['test']}: {row['said']}")
    passed = sum(row["outcome"] == "passed" for row in rows)
    visitor.doing = f"ran OSv's tests of its REST API, of which {passed} passed"
    visitor.ask_to_end()
