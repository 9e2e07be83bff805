"""Everything that is measured of a cell, by name: what `osv-harness perf` and tests/perf run."""

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
from harness.runner.session import Lab
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps
from harness.workloads.apps.app import App
from harness.workloads.apps.run import build_of, image_of, run_app

SMALLEST = "hello"
"""The app with which boot, memory and size are measured."""

KERNEL = tuple(registry.of_kernel())
"""What is measured of a kernel itself, the quickest first."""

TAKEN_IN_A_LAB = tuple(name for name, row in registry.of_kernel().items() if row.in_a_lab)
"""What a lab's clock has no part in."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement came to, once, and the commits up to the kernel's, which put it in its place."""

    samples: Sequence[Sample]
    documents: Sequence[Document] = ()
    commits: Sequence[Commit] = ()

    @property
    def records(self) -> list[Sample | Document | Commit]:
        """All that a history is to keep of it."""
        return [*self.samples, *self.documents, *self.commits]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Something of one built kernel that can be measured as often as wished; `take` raises `HarnessError` if what
    is measured does not pass."""

    name: str
    taker: Sampler
    take: Callable[[], Measured]


def of_kernel() -> list[str]:
    """The measurements of a kernel itself that are taken here."""
    return [name for name in KERNEL if not in_lab() or name in TAKEN_IN_A_LAB]


def names(cell: Cell) -> list[str]:
    """The measurements of a cell: those of its kernel (`boot-cost`, …), each benchmark of its catalog
    (`misc-ctxsw.so`) and each app that is loaded (`app-nginx`); in a lab those that no clock has a part in."""
    if in_lab():
        return of_kernel()
    loaded = [f"app-{name}" for name in apps.names_for(cell) if apps.app(name, cell).loads]
    # Benchmarks are shared objects, which only images without a launch mode have.
    benchmarks = (
        [] if launch_of(cell) else [one.program.name for one in guest_benchmarks.benchmarks(cell.kernel, "tcg")]
    )
    return [*KERNEL, *benchmarks, *loaded]


def measuring(metric: str, cell: Cell) -> str:
    """The name of the measurement that takes a metric. Raises `CellError` with the nearest if none does."""
    name = measurement_of(metric, cell)
    if name.startswith("app-") and name not in names(cell):
        raise CellError(f"No measurement of {cell} takes {metric}.", "`osv-harness perf --list CELL` names them.")
    return name


def check(cell: Cell, name: str) -> None:
    """Raise `CellError` with the nearest names if the cell has no such measurement here."""
    if in_lab() and name not in TAKEN_IN_A_LAB:
        raise CellError(
            f"{name} is not measured in a lab: the clock of an emulation says nothing of a kernel.",
            f"Measure it outside; here there are {', '.join(TAKEN_IN_A_LAB)}.",
        )
    if name not in names(cell):
        raise CellError(f"Nothing named {name} is measured of {cell}.", did_you_mean(name, names(cell)))


def prepare(
    lab: Lab, cell: Cell, name: str, run: str, duration: float | None = None, boots: int | None = None,
    metrics: Iterable[str] = (),
) -> Measurement:  # fmt: skip
    """Build what the measurement needs. Each `take` then boots: an app once, with loads of `duration` seconds
    each, others `boots` times, or as often as one run deserves. An app has only the loads that `metrics` name,
    if any are. What is taken is of the run with the id `run`.

    Raises `HarnessError` if it can't be built, `CellError` if there is no such measurement, or if this host can't
    run the cell: its size can be measured all the same.
    """
    check(cell, name)
    if name != "size":
        lab.check_runs(cell)
    if name in KERNEL:
        program = apps.app(SMALLEST, cell)
        return _of_kernel(_taker(lab, image_of(lab, cell, program), program, run), program, name, boots)
    for benchmark in guest_benchmarks.benchmarks(cell.kernel, lab.recorded_accelerator(cell)):
        if benchmark.program.name == name:
            machine = {"memory": benchmark.program.memory, "cpus": benchmark.program.cpus}
            taker = Sampler(lab, lab.image(cell), run, machine)
            return Measurement(name, taker, partial(_of_benchmark, taker, benchmark))
    app = apps.app(name.removeprefix("app-"), cell)
    taker = _taker(lab, image_of(lab, cell, app), app, run)
    named = [load for load in app.loads if any(one.startswith(f"app.{app.name}.{load}.") for one in metrics)]
    return Measurement(name, taker, partial(_of_app, taker, app, duration, named if metrics else list(app.loads)))


def _taker(lab: Lab, image: Image, program: App, run: str) -> Sampler:
    """Takes numbers of the kernel with the program on it, in a guest of the program's size."""
    build = build_of(lab, image, program)
    return Sampler(lab, image, run, {"memory": program.memory, "cpus": program.cpus, "program": build})


def _of_kernel(taker: Sampler, program: App, name: str, boots: int | None) -> Measurement:
    row = registry.of_kernel()[name]
    measure = partial(row.function(), boots=boots) if boots and row.takes_boots else row.function()
    return Measurement(name, taker, lambda: Measured(measure(taker, program), commits=taker.commits))


def _of_benchmark(taker: Sampler, benchmark: guest_benchmarks.Benchmark) -> Measured:
    return Measured(guest_benchmarks.run_benchmark(taker, benchmark), commits=taker.commits)


def _of_app(taker: Sampler, app: App, duration: float | None, loads: Sequence[str]) -> Measured:
    done = run_app(taker.lab, taker.image.cell, app, loads, duration, alone=True, image=taker.image)
    if done.run.verdict.outcome is not Outcome.PASSED:
        raise HarnessError(f"{app.name} did not pass on {taker.image.cell}: {done.run.verdict.reason}.")
    taken = app_load.samples_of(taker, done, duration)
    return Measured(taken, app_load.documents_of(taker, done), taker.commits)
