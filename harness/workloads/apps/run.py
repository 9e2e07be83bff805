"""One app in one guest: started, asked from outside, loaded, asked again, and told to end."""

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
from harness.host.in_lab import stretched
from harness.kernels.rootfs.elf_dependencies import locate
from harness.runner import catalog
from harness.runner.base import Program, Run
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.session import Lab
from harness.workloads.apps import guest_checks
from harness.workloads.apps.app import App
from harness.workloads.apps.checks import mismatch
from harness.workloads.apps.compile import compiled
from harness.workloads.load import run as generators
from harness.workloads.load.run import Load, Result, Second

RETRY_SECONDS = 0.05
ENDING_SECONDS = 10.0  # on hardware
# A visit is bounded by what its parts may take when all goes wrong: what is late then is ours, not the guest's.
VISIT_SECONDS, LOAD_SECONDS = 300.0, 120.0
KINDS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of a process that are resident, and that it shares with no other; 0 where that is not known."""

    resident: int = 0
    private: int = 0


@dataclass(frozen=True, slots=True)
class AppRun:
    """What became of an app: its run with the verdict, its loads' results, the seconds from the start of the
    hypervisor's process to the first right answer (0 if it serves nothing), what memory that process held after
    the load, and the bytes of kernel and disks."""

    app: App
    image: Image
    run: Run
    loads: tuple[Result, ...]
    ready_seconds: float
    memory: Held
    image_size: int


OnSecond = Callable[[Load, Second], None]


def run_app(
    lab: Lab, cell: Cell, wanted: App, loads: Iterable[str] | None = None, duration: float | None = None,
    on_second: OnSecond | None = None, alone: bool = False, image: Image | None = None,
) -> AppRun:  # fmt: skip
    """Run the app to a verdict with the named loads (all of its own by default), of `duration` seconds each;
    `alone` on the machine, where the figures are to be compared; in `image`, where that has been built before.

    Raises `HarnessError` if its image can't be made, or if it has no such load.
    """
    chosen = [_load(wanted, load) for load in loads] if loads is not None else list(wanted.loads.values())
    lab.check_runs(cell)
    image = image or image_of(lab, cell, wanted)
    scale = catalog.scale(lab.recorded_accelerator(cell))
    visiting = stretched(VISIT_SECONDS + sum((duration or one.duration) + LOAD_SECONDS for one in chosen))
    program = Program(
        name=wanted.name,
        command=wanted.command,
        limit=(ENDING_SECONDS if wanted.port else wanted.limit) * scale,
        cpus=wanted.cpus,
        memory=wanted.memory,
        network=bool(wanted.port),
        forwards=(wanted.port,) if wanted.port else (),
        good_statuses=wanted.statuses,
        environment=tuple(wanted.environment.items()),
        prints=wanted.prints,
        slow_start=wanted.slow_start,
    )
    service = _Service(wanted, chosen, duration, on_second)
    interaction = (
        Interaction(
            act=service.use, wait_ready=service.wait_ready, ready_limit=wanted.ready * scale, act_limit=visiting
        )
        if wanted.port
        else None
    )
    run = lab.run_on(image, program, interaction, alone)
    sizes = [path.stat().st_size for path in (image.kernel, image.initrd, *(d.path for d in image.disks)) if path]
    return AppRun(wanted, image, run, tuple(service.results), service.ready_seconds, service.memory, sum(sizes))


def image_of(lab: Lab, cell: Cell, wanted: App) -> Image:
    """The cell's image with the app in it. Raises `LaunchError` if its program can't be launched as the cell says,
    `HarnessError` if the image can't be made."""
    contents = wanted.contents
    if wanted.source:
        mode = launch_of(cell) or wanted.source.launch
        made = {wanted.source.program: compiled(wanted.source, cell.arch, lab.cache, mode)}
        contents = replace(contents, made=made, programs=(*contents.programs, wanted.source.program))
    elif launch_of(cell):
        tree = debian_packages.fetch(contents.packages, cell.arch, lab.cache)
        first = wanted.command.split()[0]
        program = first if first in contents.programs else contents.programs[0]
        check_launch(cell, wanted.name, locate(tree.root, program, wanted.name))
    return lab.image_with(cell, contents)


def build_of(lab: Lab, image: Image, wanted: App) -> str:
    """Which build of its program an image has: its packages' versions, or a digest of what we compiled."""
    if wanted.source:
        cell = image.cell
        program = compiled(wanted.source, cell.arch, lab.cache, launch_of(cell) or wanted.source.launch)
        return f"{wanted.name} {hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    return ", ".join(f"{name} {image.facts.get(name, '?')}" for name in wanted.contents.packages)


class _Service:
    """The visit of a program that serves a port."""

    def __init__(self, wanted: App, loads: list[Load], duration: float | None, on_second: OnSecond | None) -> None:
        self._app = wanted
        self._loads = loads
        self._duration = duration
        self._on_second = on_second
        self.results: list[Result] = []
        self.ready_seconds = 0.0
        self.memory = Held()

    def wait_ready(self, client: GuestClient) -> None:
        """Wait for the first right answer."""
        port = client.ports[self._app.port]
        while wrong := mismatch(self._app.checks[0], port):
            client.doing = f"waited for a right answer, and last got: {wrong}"
            if client.gone.wait(RETRY_SECONDS):
                return
        self.ready_seconds = client.seconds

    def use(self, client: GuestClient) -> None:
        """Check it, load it, check it again, and have it end."""
        port = client.ports[self._app.port]
        first, *others = self._app.checks
        client.doing = "checked its answers"
        self._check(others, port, client)
        if client.can_run_commands:
            guest = guest_checks.host(client)
            for row in self._app.inside:
                if wrong := guest_checks.complaint(row, guest):
                    client.report_mismatch(wrong)
        for one in self._loads:
            self._load(one, client)
        self.memory = _held(client.pid)
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

    def _load(self, one: Load, client: GuestClient) -> None:
        done = 0
        began = monotonic()

        def second(live: Second) -> None:
            nonlocal done
            done += live.requests
            client.doing = f"loaded it ({one.name}: {done} answers in {monotonic() - began:.0f} s)"
            if self._on_second:
                self._on_second(one, live)

        client.doing = f"loaded it ({one.name})"
        place = client.endpoint(self._app.port)
        result = generators.run(
            one,
            place.host,
            place.port,
            command_prefix=place.command_prefix,
            duration=self._duration,
            on_second=second,
            stop=client.gone,
        )
        self.results.append(result)
        if client.gone.is_set():
            return
        if result.error:
            client.report_infrastructure_error(f"the load generator failed ({one.name}): {result.error}")
        failures = sum(result.failures.values())
        if failures:
            most = sorted(result.failures.items(), key=lambda item: -item[1])[:KINDS_SHOWN]
            kinds = ", ".join(f"{count} {kind}" for kind, count in most)
            client.report_mismatch(f"under load ({one.name}) {failures} of {result.requests + failures} failed: {kinds}")
        elif not result.requests and not result.error:
            client.report_mismatch(f"under load ({one.name}) nothing was answered")


def _load(wanted: App, name: str) -> Load:
    if name not in wanted.loads:
        near = difflib.get_close_matches(name, wanted.loads, n=3, cutoff=0.4) or sorted(wanted.loads)
        raise HarnessError(f"{wanted.name} has no load {name}.", f"There are: {', '.join(near) or 'none'}.")
    return wanted.loads[name]


def _held(pid: int) -> Held:
    """Source: Linux, proc(5), /proc/pid/smaps_rollup, in KiB."""
    try:
        rows = [row.split() for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    except OSError:
        return Held()
    sizes = {row[0]: int(row[1]) << 10 for row in rows}
    return Held(sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"])
