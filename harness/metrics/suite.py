"""All measurements of a cell, by name: what `osv-harness perf` and tests/perf run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.core.link_mode import launch_of
from harness.core.machine import Image
from harness.core.suggestions import did_you_mean
from harness.host.in_lab import in_lab
from harness.metrics import app_load, guest_benchmarks, registry
from harness.metrics.names import measurement_of
from harness.metrics.records import Commit, Document, Sample
from harness.metrics.sampler import Sampler
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps
from harness.workloads.apps.app import App
from harness.workloads.apps.run import build_of, image_of, run_app

KERNEL_APP = "hello"
"""The app with which boot, memory and size are measured."""

KERNEL = tuple(registry.of_kernel())
"""The measurements of a kernel itself, the fastest first."""

IN_LAB = tuple(name for name, row in registry.of_kernel().items() if row.in_a_lab)
"""Measurements that a lab can make: they do not depend on its clock."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of taking a measurement once, and the commits up to the kernel's, which place it in the
    history."""

    samples: Sequence[Sample]
    documents: Sequence[Document] = ()
    commits: Sequence[Commit] = ()

    @property
    def records(self) -> list[Sample | Document | Commit]:
        """All records that a history stores of it."""
        return [*self.samples, *self.documents, *self.commits]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement of one built kernel that can be repeated; `take` raises `HarnessError` if the measured program
    does not pass."""

    name: str
    sampler: Sampler
    take: Callable[[], Measured]


def of_kernel() -> list[str]:
    """The measurements of a kernel itself that are made here."""
    return [name for name in KERNEL if not in_lab() or name in IN_LAB]


def names(cell: Cell) -> list[str]:
    """The measurements of a cell: those of its kernel (`boot-cost`, …), each benchmark of its catalog
    (`misc-ctxsw.so`) and each app with loads (`app-nginx`); in a lab only those that do not depend on a clock."""
    if in_lab():
        return of_kernel()
    loaded = [f"app-{name}" for name in apps.names_for(cell) if apps.app(name, cell).loads]
    # Benchmarks are shared objects, which only images without a launch mode have.
    benchmarks = (
        [] if launch_of(cell) else [one.program.name for one in guest_benchmarks.benchmarks(cell.kernel, "tcg")]
    )
    return [*KERNEL, *benchmarks, *loaded]


def measuring(metric: str, cell: Cell) -> str:
    """The name of the measurement that gives a metric. Raises `CellError` with the nearest if none does."""
    name = measurement_of(metric, cell)
    if name.startswith("app-") and name not in names(cell):
        raise CellError(f"No measurement of {cell} takes {metric}.", "`osv-harness perf --list CELL` names them.")
    return name


def check(cell: Cell, name: str) -> None:
    """Raise `CellError` with the nearest names if the cell has no such measurement here."""
    if in_lab() and name not in IN_LAB:
        raise CellError(
            f"{name} is not measured in a lab: the clock of an emulation says nothing of a kernel.",
            f"Measure it outside; here there are {', '.join(IN_LAB)}.",
        )
    if name not in names(cell):
        raise CellError(f"Nothing named {name} is measured of {cell}.", did_you_mean(name, names(cell)))


def prepare(
    session: Session, cell: Cell, name: str, run: str, duration: float | None = None, boots: int | None = None,
    metrics: Iterable[str] = (),
) -> Measurement:  # fmt: skip
    """Build what the measurement needs.

    Each `take` then boots: an app once, with loads of `duration` seconds each; others `boots` times, or by default
    as often as they need. An app has only the loads that `metrics` need, if any are given. Results belong to the
    run with the id `run`. Raises `HarnessError` if it can't be built, `CellError` if there is no such measurement
    or this host can't run the cell; its size can be measured anyway.
    """
    check(cell, name)
    if name != "size":
        session.check_runs(cell)
    if name in KERNEL:
        program = apps.app(KERNEL_APP, cell)
        return _of_kernel(_sampler(session, image_of(session, cell, program), program, run), program, name, boots)
    for benchmark in guest_benchmarks.benchmarks(cell.kernel, session.recorded_accelerator(cell)):
        if benchmark.program.name == name:
            machine = {"memory": benchmark.program.memory, "cpus": benchmark.program.cpus}
            sampler = Sampler(session, session.image(cell), run, machine)
            return Measurement(name, sampler, partial(_of_benchmark, sampler, benchmark))
    app = apps.app(name.removeprefix("app-"), cell)
    sampler = _sampler(session, image_of(session, cell, app), app, run)
    named = [load for load in app.loads if any(one.startswith(f"app.{app.name}.{load}.") for one in metrics)]
    return Measurement(
        name, sampler, partial(_of_app, sampler, app, duration, named if metrics else list(app.loads))
    )


def _sampler(session: Session, image: Image, program: App, run: str) -> Sampler:
    """A sampler of the kernel with the program on it, in a guest of the program's size."""
    build = build_of(session, image, program)
    return Sampler(session, image, run, {"memory": program.memory, "cpus": program.cpus, "program": build})


def _of_kernel(sampler: Sampler, program: App, name: str, boots: int | None) -> Measurement:
    row = registry.of_kernel()[name]
    measure = partial(row.function(), boots=boots) if boots and row.takes_boots else row.function()
    return Measurement(name, sampler, lambda: Measured(measure(sampler, program), commits=sampler.commits))


def _of_benchmark(sampler: Sampler, benchmark: guest_benchmarks.Benchmark) -> Measured:
    return Measured(guest_benchmarks.run_benchmark(sampler, benchmark), commits=sampler.commits)


def _of_app(sampler: Sampler, app: App, duration: float | None, loads: Sequence[str]) -> Measured:
    app_run = run_app(sampler.session, sampler.image.cell, app, loads, duration, alone=True, image=sampler.image)
    if app_run.run.verdict.outcome is not Outcome.PASSED:
        raise HarnessError(f"{app.name} did not pass on {sampler.image.cell}: {app_run.run.verdict.reason}.")
    taken = app_load.samples_of(sampler, app_run, duration)
    return Measured(taken, app_load.documents_of(sampler, app_run), sampler.commits)
