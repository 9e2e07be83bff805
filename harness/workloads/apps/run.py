"""Runs one app in one guest: starts it, checks its answers, loads it, checks again, and stops it."""

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.link_mode import check_launch, launch_of
from harness.core.machine import Image
from harness.host import debian_packages
from harness.host.in_lab import lab_timeout
from harness.kernels.rootfs.elf_dependencies import locate
from harness.runner import catalog
from harness.runner.base import Program, Run
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.session import Session
from harness.workloads.apps import guest_checks
from harness.workloads.apps.app import App
from harness.workloads.apps.checks import mismatch
from harness.workloads.apps.compile import compile_program
from harness.workloads.load import run as generators
from harness.workloads.load.run import Load, Result, Second

RETRY_SECONDS = 0.05
STOP_SECONDS = 10.0  # on hardware
# The limit of an interaction is the sum of its parts' worst cases: exceeding it is our fault, not the guest's.
INTERACTION_SECONDS, LOAD_SECONDS = 300.0, 120.0
MOST_KINDS = 5


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """A process's resident bytes, and those that it shares with no other; 0 if unknown."""

    resident: int = 0
    private: int = 0


@dataclass(frozen=True, slots=True)
class AppRun:
    """The result of an app: its run with the verdict, the results of its loads, the seconds from the start of the
    hypervisor's process to the first right answer (0 if it serves nothing), the memory of that process after the
    load, and the bytes of kernel and disks."""

    app: App
    image: Image
    run: Run
    loads: tuple[Result, ...]
    ready_seconds: float
    memory: ProcessMemory
    image_size: int


OnSecond = Callable[[Load, Second], None]


def run_app(
    session: Session, cell: Cell, app: App, loads: Iterable[str] | None = None, duration: float | None = None,
    on_second: OnSecond | None = None, alone: bool = False, image: Image | None = None,
) -> AppRun:  # fmt: skip
    """Run the app to a verdict, with the named loads (by default all of its own) of `duration` seconds each.

    `alone` runs nothing else on the machine, for figures that are to be compared; `image` is used if it was built
    before. Raises `HarnessError` if the image can't be built, or if the app has no such load.
    """
    loads_to_run = [_load(app, load) for load in loads] if loads is not None else list(app.loads.values())
    session.check_runs(cell)
    image = image or image_of(session, cell, app)
    scale = catalog.scale(session.recorded_accelerator(cell))
    interaction_limit = lab_timeout(
        INTERACTION_SECONDS + sum((duration or one.duration) + LOAD_SECONDS for one in loads_to_run)
    )
    program = Program(
        name=app.name,
        command=app.command,
        limit=(STOP_SECONDS if app.port else app.limit) * scale,
        cpus=app.cpus,
        memory=app.memory,
        network=bool(app.port),
        forwards=(app.port,) if app.port else (),
        good_statuses=app.statuses,
        environment=tuple(app.environment.items()),
        prints=app.prints,
        slow_start=app.slow_start,
    )
    service = _Service(app, loads_to_run, duration, on_second)
    interaction = (
        Interaction(
            act=service.act,
            wait_ready=service.wait_ready,
            ready_limit=app.ready * scale,
            act_limit=interaction_limit,
        )
        if app.port
        else None
    )
    run = session.run_on(image, program, interaction, alone)
    sizes = [path.stat().st_size for path in (image.kernel, image.initrd, *(d.path for d in image.disks)) if path]
    return AppRun(app, image, run, tuple(service.results), service.ready_seconds, service.memory, sum(sizes))


def image_of(session: Session, cell: Cell, app: App) -> Image:
    """The cell's image with the app. Raises `LaunchError` if the program can't be launched in the cell's launch
    mode, `HarnessError` if the image can't be built."""
    contents = app.contents
    if app.source:
        mode = launch_of(cell) or app.source.launch
        compiled_files = {app.source.program: compile_program(app.source, cell.arch, session.cache, mode)}
        contents = replace(contents, made=compiled_files, programs=(*contents.programs, app.source.program))
    elif launch_of(cell):
        tree = debian_packages.fetch(contents.packages, cell.arch, session.cache)
        first = app.command.split()[0]
        program = first if first in contents.programs else contents.programs[0]
        check_launch(cell, app.name, locate(tree.root, program, app.name))
    return session.image_with(cell, contents)


def build_of(session: Session, image: Image, app: App) -> str:
    """Identifies the build of the program in an image: its packages' versions, or a digest of what we compiled."""
    if app.source:
        cell = image.cell
        program = compile_program(app.source, cell.arch, session.cache, launch_of(cell) or app.source.launch)
        return f"{app.name} {hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    return ", ".join(f"{name} {image.facts.get(name, '?')}" for name in app.contents.packages)


class _Service:
    """The interaction with a program that serves a port."""

    def __init__(self, app: App, loads: list[Load], duration: float | None, on_second: OnSecond | None) -> None:
        self._app = app
        self._loads = loads
        self._duration = duration
        self._on_second = on_second
        self.results: list[Result] = []
        self.ready_seconds = 0.0
        self.memory = ProcessMemory()

    def wait_ready(self, client: GuestClient) -> None:
        """Wait for the first right answer."""
        port = client.ports[self._app.port]
        while wrong := mismatch(self._app.checks[0], port):
            client.doing = f"waited for a right answer, and last got: {wrong}"
            if client.gone.wait(RETRY_SECONDS):
                return
        self.ready_seconds = client.seconds

    def act(self, client: GuestClient) -> None:
        """Check it, load it, check it again, and stop it."""
        port = client.ports[self._app.port]
        first, *others = self._app.checks
        client.doing = "checked its answers"
        self._check(others, port, client)
        if client.can_run_commands:
            guest = guest_checks.host(client)
            for row in self._app.inside:
                if wrong := guest_checks.mismatch(row, guest):
                    client.report_mismatch(wrong)
        for one in self._loads:
            self._load(one, client)
        self.memory = _process_memory(client.pid)
        if client.gone.is_set():
            return
        client.doing = "asked it once more after the load"
        self._check([first], port, client)
        if not client.gone.is_set():
            client.doing = "asked it to end"
            client.request_end()

    def _check(self, checks: Iterable[Mapping[str, Any]], port: int, client: GuestClient) -> None:
        for check in checks:
            if not client.gone.is_set() and (wrong := mismatch(check, port)) and not client.gone.is_set():
                client.report_mismatch(f"{client.doing}: {wrong}")

    def _load(self, load: Load, client: GuestClient) -> None:
        answered = 0
        began = monotonic()

        def second(live: Second) -> None:
            nonlocal answered
            answered += live.requests
            client.doing = f"loaded it ({load.name}: {answered} answers in {monotonic() - began:.0f} s)"
            if self._on_second:
                self._on_second(load, live)

        client.doing = f"loaded it ({load.name})"
        endpoint = client.endpoint(self._app.port)
        result = generators.run(
            load,
            endpoint.host,
            endpoint.port,
            command_prefix=endpoint.command_prefix,
            duration=self._duration,
            on_second=second,
            stop=client.gone,
        )
        self.results.append(result)
        if client.gone.is_set():
            return
        if result.error:
            client.report_error(f"the load generator failed ({load.name}): {result.error}")
        failures = sum(result.failures.values())
        if failures:
            most = sorted(result.failures.items(), key=lambda item: -item[1])[:MOST_KINDS]
            kinds = ", ".join(f"{count} {kind}" for kind, count in most)
            client.report_mismatch(
                f"under load ({load.name}) {failures} of {result.requests + failures} failed: {kinds}"
            )
        elif not result.requests and not result.error:
            client.report_mismatch(f"under load ({load.name}) nothing was answered")


def _load(app: App, name: str) -> Load:
    if name not in app.loads:
        near = difflib.get_close_matches(name, app.loads, n=3, cutoff=0.4) or sorted(app.loads)
        raise HarnessError(f"{app.name} has no load {name}.", f"There are: {', '.join(near) or 'none'}.")
    return app.loads[name]


def _process_memory(pid: int) -> ProcessMemory:
    """Source: Linux, proc(5), /proc/pid/smaps_rollup, in KiB."""
    try:
        rows = [row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    except OSError:
        return ProcessMemory()
    sizes = {row[0]: int(row[1]) << 10 for row in rows}
    return ProcessMemory(sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"])
