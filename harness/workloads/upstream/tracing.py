"""OSv's tracing, from the guest's tracepoints to what the checkout's own scripts/trace.py makes of them.

Upstream's tests/test_tracing.py takes the trace out of a guest with gdb. Here the guest's REST API gives it, which
trace.py reads too; what is asked of it is the same, where it does not depend on run.py.
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
PATIENCE = 300.0
"""Seconds for one command of trace.py."""


def program() -> Program:
    """The guest that traces itself from its boot, and serves what it traced."""
    served = rest_api.program(SERVER)
    return replace(served, name="tracing_smoke_test", command=f"{TRACED} {served.command}")


def visit(checkout: Path, symbols: Path) -> Interaction:
    """Have the guest open a file, take its trace and ask trace.py about it."""
    return Interaction(
        get_ready=rest_api.wait_for_answer,
        act=lambda visitor: _look(visitor, checkout / "scripts/trace.py", symbols),
        act_limit=600,
    )


def _questions(symbols: Path) -> list[tuple[list[str], list[str]]]:
    """Commands of trace.py, each with what its answer must have in it."""
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


def _look(visitor: GuestClient, script: Path, symbols: Path) -> None:
    port = visitor.ports[rest_api.PORT]
    visitor.doing = f"read {FILE}"
    if wrong := mismatch({"get": f"/file{FILE}?op=GET"}, port):
        visitor.complain(f"{FILE} could not be read: {wrong}")
    with temporary_dir("osv-harness-trace-") as folder:
        visitor.doing = "took its trace"
        taken = folder / "tracefile"
        _run(visitor, script, ["download", "-u", f"http://127.0.0.1:{port}/", str(taken)], folder)
        for arguments, wanted in _questions(symbols):
            if visitor.gone.is_set():
                return
            visitor.doing = f"asked trace.py {arguments[0]}"
            status, said = _run(visitor, script, [*arguments, str(taken)], folder)
            if status:
                visitor.complain(f"trace.py {arguments[0]} ended with status {status}: {said[-300:]}")
            elif missing := [one for one in wanted if one not in said]:
                visitor.complain(f"trace.py {arguments[0]} shows no {' and no '.join(missing)}")
    visitor.doing = "asked it to end"
    visitor.ask_to_end()


def _run(visitor: GuestClient, script: Path, arguments: list[str], folder: Path) -> tuple[int, str]:
    """Status and output of one command; ends with the guest, or when it takes too long."""
    until = monotonic() + PATIENCE
    command = [rest_api.PYTHON, "-E", "-B", str(script), *arguments]
    with SupervisedProcess("trace.py", command, cwd=folder) as process:
        while process.wait() is None and monotonic() < until and not visitor.gone.wait(0.1):
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
