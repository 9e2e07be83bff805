"""Checks OSv's tracing: from the guest's tracepoints to the output of the checkout's own scripts/trace.py.

Upstream's tests/test_tracing.py takes the trace out of a guest with gdb. Here it comes through the guest's REST
API, which trace.py reads too. The same commands are checked, as far as they do not depend on run.py.
"""

from dataclasses import replace
from pathlib import Path
from time import monotonic

from harness.core.errors import HostError
from harness.host.process.supervised import SupervisedProcess
from harness.host.temp_dir import temporary_dir
from harness.runner.base import Program
from harness.runner.interaction import GuestClient, Interaction
from harness.workloads.apps.checks import mismatch
from harness.workloads.upstream import rest_api

SERVER = "httpserver-api"
TRACED = "--trace=vfs_*,net_packet*,sched_wait* --trace-backtrace"
FILE = "/etc/hosts"
COMMAND_SECONDS = 300.0
"""The time limit of one command of trace.py."""


def program() -> Program:
    """The guest that traces itself from its boot, and serves the trace."""
    served = rest_api.program(SERVER)
    return replace(served, name="tracing_smoke_test", command=f"{TRACED} {served.command}")


def interaction(checkout: Path, symbols: Path) -> Interaction:
    """Make the guest open a file, download its trace, and run trace.py on it."""
    return Interaction(
        wait_ready=rest_api.wait_for_answer,
        act=lambda client: _check_trace(client, checkout / "scripts/trace.py", symbols),
        act_limit=600,
    )


def _commands(symbols: Path) -> list[tuple[list[str], list[str]]]:
    """Commands of trace.py, each with the texts that its output must contain."""
    resolving = ["-e", str(symbols)]
    opened = f'vfs_open             "{FILE}" 0x0 00'
    return [
        (["summary", "--timed"], ["vfs_open", "Timed tracepoints", "vfs_pread"]),
        (["list"], [opened]),
        (["list-timed"], [opened]),
        (["prof-timed", *resolving, "-t", "vfs_open"], ["open"]),
        (["prof-wait", *resolving], ["sched::thread::wait()"]),
        (["prof", *resolving], ["sched::thread::wait()"]),
    ]


def _check_trace(client: GuestClient, script: Path, symbols: Path) -> None:
    port = client.ports[rest_api.PORT]
    client.doing = f"read {FILE}"
    if wrong := mismatch({"get": f"/file{FILE}?op=GET"}, port):
        client.report_mismatch(f"{FILE} could not be read: {wrong}")
    with temporary_dir("osv-harness-trace-") as folder:
        client.doing = "took its trace"
        trace_file = folder / "tracefile"
        _run(client, script, ["download", "-u", f"http://127.0.0.1:{port}/", str(trace_file)], folder)
        for arguments, expected in _commands(symbols):
            if client.gone.is_set():
                return
            client.doing = f"asked trace.py {arguments[0]}"
            status, output = _run(client, script, [*arguments, str(trace_file)], folder)
            if status:
                client.report_mismatch(f"trace.py {arguments[0]} ended with status {status}: {output[-300:]}")
            elif missing := [one for one in expected if one not in output]:
                client.report_mismatch(f"trace.py {arguments[0]} shows no {' and no '.join(missing)}")
    client.doing = "asked it to end"
    client.request_end()


def _run(client: GuestClient, script: Path, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Status and output of one command; it is killed when the guest ends, or after `COMMAND_SECONDS`."""
    until = monotonic() + COMMAND_SECONDS
    command = [rest_api.PYTHON, "-E", "-B", str(script), *arguments]
    with SupervisedProcess("trace.py", command, cwd=folder) as process:
        while process.wait() is None and monotonic() < until and not client.gone.wait(0.1):
            pass
        text = process.output()
    status = process.wait()
    assert status is not None
    if "No module named" in text or "No such file or directory: 'less'" in text:
        raise HostError(
            f"scripts/trace.py does not run here: {text.strip().splitlines()[-1]}",
            "Install python3-requests, python3-dpkt, binutils and less.",
        )
    return status, text
