"""Runs OSv's own tests of its REST API (modules/httpserver-api/tests) against a guest that serves it."""

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
"""Debian's own Python, which python3-requests is for."""

MODULES = {"httpserver-api": "httpserver-api.fg", "httpserver-monitoring-api": "httpserver-monitoring-api.fg"}
"""The modules that serve the API, as OSv's `image=` takes them; the second has only the read-only part."""

WITH_OPENSSL = "httpserver-api"
"""The module whose image has openssl, which OSv takes from the host. Source: its module.py."""

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
"""Upstream's tests that need a writable root, and why."""
READ_ONLY = ("rofs", "virtiofs")
"""Filesystems on which only /tmp is writable."""


def program(name: str) -> Program:
    """The guest that serves, of upstream's size: its tests ask for four cpus and more than 256 MiB."""
    return Program(
        f"rest-{name}", COMMANDS[name], limit=60, cpus=4, memory=2048, network=True, forwards=(PORT,),
        good_statuses=(0,),
    )  # fmt: skip


def left_out(cell: Cell) -> dict[str, str]:
    """Parts of names of upstream's tests that this cell can't run, each with the reason."""
    if cell.fs not in READ_ONLY:
        return LEFT_OUT
    return LEFT_OUT | {test: f"{what}, and {cell.fs} is read-only" for test, what in WANTS_MORE.items()}


def interaction(checkout: Path, name: str, cell: Cell) -> Interaction:
    """Run upstream's tests once the guest answers; their failures are the guest's."""
    return Interaction(
        wait_ready=wait_for_answer, act=lambda client: _run_tests(client, checkout, name, cell), act_limit=600
    )


def wait_for_answer(client: GuestClient) -> None:
    """Wait until the API gives the right answer."""
    check = {"get": "/os/vendor", "body": '"Cloudius Systems"'}
    while wrong := mismatch(check, client.ports[PORT]):
        client.doing = f"waited for a right answer, and last got: {wrong}"
        if client.gone.wait(0.1):
            return


def _run_tests(client: GuestClient, checkout: Path, name: str, cell: Cell) -> None:
    client.doing = "ran OSv's tests of its REST API"
    options = {
        "checkout": str(checkout), "listings": name, "folder": FOLDERS[name], "port": client.ports[PORT],
        "left out": left_out(cell),
    }  # fmt: skip
    with temporary_dir("osv-harness-rest-") as folder:
        out, command = folder / "results", [PYTHON, "-I", "-B", str(SCRIPT), json.dumps(options)]
        with (
            out.open("wb") as results,
            SupervisedProcess(PYTHON, command, stdout=results.fileno(), cwd=folder) as process,
        ):
            while (status := process.wait()) is None and not client.gone.wait(0.2):
                pass
            exit_text = process.last_words()
        if client.gone.is_set():
            return
        rows = [json.loads(line) for line in out.read_text(errors="replace").splitlines() if line.startswith("{")]
    if status != 0 or not any(row["outcome"] != "skipped" for row in rows):
        raise HostError(f"OSv's tests of its REST API did not run: {exit_text}")
    for row in rows:
        if row["outcome"] == "failed":
            client.report_mismatch(f"{row['test']}: {row['said']}")
    passed = sum(row["outcome"] == "passed" for row in rows)
    client.doing = f"ran OSv's tests of its REST API, of which {passed} passed"
    client.request_end()
