"""The harness in pytest: options, the lab as fixtures, and each in-guest test as an item of its own."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from time import strftime

import pytest

from harness.cell import Cell
from harness.errors import HarnessError
from harness.events import subscribed
from harness.expectations import complaint, expected
from harness.lab import Lab
from harness.programs import Program, Run, Visit
from harness.report import evidence, junit
from harness.report.progress import Progress
from harness.report.tally import Tally
from harness.verdict import Outcome

LAB = pytest.StashKey[Lab]()
CELLS = pytest.StashKey[list[Cell]]()
RUNS = pytest.StashKey[Path]()
SHOWN_LINES = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("osv-harness", "OSv test harness")
    group.addoption("--cell", action="append", default=[], metavar="CELL", help="a cell to test (repeatable)")
    group.addoption("--set", dest="cell_set", metavar="NAME", help="a named set of cells of matrix.toml")
    group.addoption("--osv-root", type=Path, metavar="DIR", help="an OSv checkout (default: OSV_ROOT)")
    group.addoption("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where evidence is kept")


def pytest_configure(config: pytest.Config) -> None:
    lab = Lab(config.getoption("--osv-root"))
    config.stash[LAB] = lab
    if getattr(config.option, "maxschedchunk", 0) is None:
        config.option.maxschedchunk = 1  # the longest start first only if xdist hands them out one by one
    worker = getattr(config, "workerinput", None)
    stamp = worker["runs_stamp"] if worker else strftime("%Y%m%d-%H%M%S")
    config.stash[RUNS] = config.getoption("--runs").resolve() / stamp
    try:
        config.stash[CELLS] = _chosen_cells(config, lab)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Give xdist's workers the controller's folder of evidence."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    node.workerinput["runs_stamp"] = config.stash[RUNS].name  # type: ignore[attr-defined]


def pytest_report_header(config: pytest.Config) -> list[str]:
    lab = config.stash[LAB]
    cells = config.stash[CELLS]
    if not cells:
        return []
    names = ", ".join(lab.matrix.short(cell) for cell in cells)
    try:
        kernels = [lab.kernel(kernel).describe() for kernel in sorted({cell.kernel for cell in cells})]
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    return [*kernels, f"cells: {names}"]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Build the asked cells' images once, before xdist starts workers that would all wait for them."""
    config = session.config
    if hasattr(config, "workerinput") or not config.stash[CELLS]:
        return
    lab = config.stash[LAB]
    known: dict[str, float] = {}
    with subscribed(Progress()):
        try:
            for cell in config.stash[CELLS]:
                lab.runner(cell).prepare()
                known |= {f"{cell}/{test}": seconds for test, seconds in lab.known_seconds(cell).items()}
        except HarnessError as error:
            pytest.exit(str(error), returncode=3)
    config.pluginmanager.register(Tally(config, known))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test that takes `run_guest` and `cell` an item for each asked cell, and with `guest_program` one for
    each in-guest test of it."""
    if not {"run_guest", "cell"} <= set(metafunc.fixturenames):
        return
    config = metafunc.config
    lab = config.stash[LAB]
    try:
        cells = config.stash[CELLS] or [lab.cell("qemu-rofs")]
        if "guest_program" not in metafunc.fixturenames:
            metafunc.parametrize("cell", cells, ids=[str(cell) for cell in cells])
            return
        rows = lab.longest_first(cells)
    except HarnessError as error:
        pytest.exit(str(error), returncode=3)
    metafunc.parametrize(("cell", "guest_program"), rows, ids=[f"{cell}/{program.name}" for cell, program in rows])


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Lab:
    """This run's cells, kernels and guests."""
    return pytestconfig.stash[LAB]


@pytest.fixture
def run_guest(
    lab: Lab, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> Iterator["GuestRun"]:
    """Runs a program on a cell, keeps the evidence, and turns the verdict into pytest's outcome."""
    yield GuestRun(lab, pytestconfig.stash[RUNS], record_property)


class GuestRun:
    """Call it with a cell and a program: returns on a pass, and otherwise ends the test as its verdict asks."""

    def __init__(self, lab: Lab, runs: Path, record_property: Callable[[str, object], None]) -> None:
        self._lab = lab
        self._runs = runs
        self._record = record_property

    def __call__(self, cell: Cell, program: Program, visit: Visit | None = None) -> None:
        __tracebackhide__ = True
        try:
            run = self._lab.run(cell, program, visit)
        except HarnessError as error:
            pytest.fail(f"harness_error: {error}", pytrace=False)
        outcome = run.verdict.outcome
        accelerator = self._lab.accelerator(cell)
        self._note(cell, run, accelerator)
        expectation = expected(cell, program.name, accelerator)
        if outcome is Outcome.PASSED and expectation is None:
            return
        folder = None if outcome is Outcome.PASSED else self._keep(run, cell, accelerator)
        if expectation:
            if trouble := complaint(expectation, outcome, date.today()):
                pytest.fail(f"{outcome}: {run.verdict.reason}\n{trouble}\n{_tail(run, folder)}", pytrace=False)
            if outcome is not Outcome.PASSED:
                pytest.xfail(f"{outcome}, as expected: {expectation.reason}")
        elif outcome is Outcome.SKIPPED:
            pytest.skip(run.verdict.reason)
        else:
            pytest.fail(f"{outcome}: {run.verdict.reason}\n{_tail(run, folder)}", pytrace=False)

    def _note(self, cell: Cell, run: Run, accelerator: str) -> None:
        """Put what reports and the record of durations need into the item's properties, as plain text."""
        facts = self._lab.image(cell).facts
        properties = {
            "cell": cell,
            "test": run.program.name,
            "outcome": run.verdict.outcome,
            "reason": run.verdict.reason,
            "seconds": f"{run.verdict.observation.seconds:.3f}",
            "origin": run.origin,
            "accelerator": accelerator,
            "qemu": ".".join(str(part) for part in self._lab.host.qemu(cell.arch).version),
            "kernel": facts.get("commit") or facts.get("kernel", ""),
        }
        for name, value in properties.items():
            self._record(name, str(value))

    def _keep(self, run: Run, cell: Cell, accelerator: str) -> Path | None:
        try:
            return evidence.write(run, self._lab.image(cell), accelerator, self._runs)
        except HarnessError as error:
            pytest.fail(f"harness_error: {error}", pytrace=False)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each guest's duration, in the process that will write them down."""
    properties = dict(report.user_properties)
    if report.when == "call" and "cell" in properties:
        _durations[str(properties["cell"]), str(properties["test"])] = float(str(properties["seconds"]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or not _durations:
        return
    lab = config.stash[LAB]
    for cell in {name for name, _ in _durations}:
        parsed = lab.matrix.parse(cell, lab.default_kernel)
        seconds = {test: value for (name, test), value in _durations.items() if name == cell}
        lab.durations.record(parsed, lab.accelerator(parsed), seconds)
    _durations.clear()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    path = config.getoption("xmlpath", None)
    if path and not hasattr(config, "workerinput") and Path(path).exists():
        junit.split_by_cell(Path(path))


_durations: dict[tuple[str, str], float] = {}


def _chosen_cells(config: pytest.Config, lab: Lab) -> list[Cell]:
    cells = [lab.cell(text) for text in config.getoption("--cell")]
    if name := config.getoption("cell_set"):
        cells += lab.matrix.set(name, lab.default_kernel)
    return list(dict.fromkeys(cells))


def _tail(run: Run, folder: Path | None) -> str:
    lines = [f"{line.at:9.3f}  {line.text}" for line in run.verdict.lines[-SHOWN_LINES:]]
    return "\n".join([*lines, f"everything else: {folder}"] if folder else lines)
