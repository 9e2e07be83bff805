"""The pytest plugin: options, fixtures, and one item per in-guest test."""

import json
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pytest

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import HarnessError, explained
from harness.core.events import NOT_STORED as NOT_STORED_EVENT
from harness.core.events import Event, subscribed
from harness.core.machine import Image
from harness.core.run_id import new_run_id
from harness.integrations.pytest_plugin import workers
from harness.integrations.pytest_plugin.full_output import FullOutput
from harness.integrations.pytest_plugin.junit_file import JunitFile
from harness.integrations.pytest_plugin.outcomes import AppTest, GuestRun, OutcomeReporter
from harness.integrations.pytest_plugin.progress import ProgressReporter
from harness.integrations.pytest_plugin.reuse import PLAN, in_order, plan_reuse
from harness.integrations.reuse.plan import ReusePlan, Standing
from harness.kernels.osv.checkout import Checkout
from harness.kernels.prebuilt.kernel import files_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document
from harness.metrics.suite import names as measurements
from harness.metrics.verdict_writer import Verdicts, Writer
from harness.report.progress import Progress
from harness.report.reproduce import item_again
from harness.runner.base import Run
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps

pytest_plugins = ["harness.integrations.pytest_plugin.options"]
pytest_xdist_auto_num_workers = workers.pytest_xdist_auto_num_workers
pytest_collection_modifyitems = workers.pytest_collection_modifyitems

SESSION = pytest.StashKey[Session]()
CELLS = pytest.StashKey[list[Cell]]()
RUN = pytest.StashKey[str]()
"""The id of the session's run: that of its verdicts, its samples and its evidence."""
RUNS = pytest.StashKey[Path]()
VERDICTS = pytest.StashKey[Verdicts]()
NOT_STORED = pytest.StashKey[list[str]]()
BUILT_BY_ITEM = (Path("tests/apps"), Path("tests/perf"))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_STORED] = []
    config.pluginmanager.register(FullOutput())
    worker = getattr(config, "workerinput", None)
    try:
        if named_project := config.getoption("--project"):
            project.choose(named_project)
        named = [config.getoption(f"--{name}") for name in ("kernel-file", "image-file", "cmdline", "manifest")]
        images = json.loads(worker["images"]) if worker else []
        given = {image.cell: image for image in map(Image.from_json, images)}
        root, fork = config.getoption("--osv-root"), config.getoption("--fork")
        session = Session(root, files=files_of(*named), images=given, fork=fork)
        if (path := config.getoption("xmlpath", None)) and not worker:
            config.pluginmanager.register(JunitFile(Path(path), config.stash[NOT_STORED]))
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    if not (worker or config.getoption("--forget")):
        _writer[:] = [Writer(config.getoption("--history"))]
    if getattr(config.option, "maxschedchunk", 0) is None:
        config.option.maxschedchunk = 1  # the longest start first only if xdist hands them out one by one
    run = worker["run"] if worker else new_run_id()
    config.stash[RUN] = run
    config.stash[RUNS] = config.getoption("--runs").resolve() / run
    config.stash[VERDICTS] = Verdicts(session, run)
    config.stash[PLAN] = ReusePlan.from_json(worker["reuse"]) if worker else ReusePlan()
    try:
        config.stash[CELLS] = _chosen_cells(config, session)
        if session.osv_root and config.stash[CELLS] and not session.files:
            Checkout(session.osv_root)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Have xdist's workers be of the controller's run, and use the images that it has built."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    node.workerinput["run"] = config.stash[RUN]  # type: ignore[attr-defined]
    node.workerinput["reuse"] = config.stash[PLAN].to_json()  # type: ignore[attr-defined]
    images = [image.to_json() for image in config.stash[SESSION].images.values()]
    node.workerinput["images"] = json.dumps(images)  # type: ignore[attr-defined]


def pytest_report_header(config: pytest.Config) -> list[str]:
    session = config.stash[SESSION]
    cells = config.stash[CELLS]
    if not cells:
        return []
    names = ", ".join(session.matrix.short(cell) for cell in cells)
    try:
        kernels = [session.kernel(kernel).describe() for kernel in sorted({cell.kernel for cell in cells})]
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    return [*kernels, f"cells: {names}"]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Build the images of the chosen cells once, before xdist starts workers that would all wait for them."""
    config = session.config
    if hasattr(config, "workerinput") or not config.stash[CELLS]:
        return
    ours = config.stash[SESSION]
    known: dict[str, float] = {}
    by_item = any(workers.only_in(config, folder) for folder in BUILT_BY_ITEM)
    with subscribed(Progress()):
        try:
            for cell in config.stash[CELLS]:
                if by_item:
                    ours.prepare_apps(cell)
                else:
                    ours.runner(cell).prepare()
                known |= {f"{cell}/{test}": seconds for test, seconds in ours.expected_seconds(cell).items()}
            if config.getoption("--reuse") and not by_item:
                known |= plan_reuse(config, ours, config.stash[CELLS], config.stash[RUN], _writer)
        except (HarnessError, OSError) as error:
            pytest.exit(explained(error), returncode=3)
    config.pluginmanager.register(ProgressReporter(config, known))
    if _writer:
        _writer[-1].start()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test that takes `cell` and one of our runners: one item per chosen cell; with `guest_program`
    one per in-guest test, with `app_name` one per app, with `measurement` one per measurement."""
    taken = set(metafunc.fixturenames)
    if "cell" not in taken or not taken & {"run_guest", "run_app", "measure"}:
        return
    session = metafunc.config.stash[SESSION]
    try:
        cells = metafunc.config.stash[CELLS] or [session.cell("qemu-rofs")]
        if "guest_program" in taken:
            ordered = in_order(session, session.longest_first(cells), metafunc.config.stash[PLAN])
            programs = workers.for_workers(session, ordered)
            ids = [f"{cell}/{program.name}" for cell, program in programs]
            metafunc.parametrize(("cell", "guest_program"), programs, ids=ids)
        elif "app_name" in taken:
            named = [(cell, name) for cell in cells for name in apps.names_for(cell)]
            metafunc.parametrize(("cell", "app_name"), named, ids=[f"{cell}/{name}" for cell, name in named])
        elif "measurement" in taken:
            measured = [(cell, name) for cell in cells for name in measurements(cell)]
            ids = [f"{cell}/{name}" for cell, name in measured]
            metafunc.parametrize(("cell", "measurement"), measured, ids=ids)
        else:
            metafunc.parametrize("cell", cells, ids=[str(cell) for cell in cells])
    except (HarnessError, OSError) as error:
        pytest.exit(explained(error), returncode=3)


@pytest.fixture(scope="session")
def harness_session(pytestconfig: pytest.Config) -> Session:
    """The session: cells, kernels and guests of this run. Locust brings pytest a fixture `session` of its own."""
    return pytestconfig.stash[SESSION]


@pytest.fixture
def outcome_reporter(
    harness_session: Session, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> OutcomeReporter:
    """Turns a verdict into pytest's outcome, and keeps its evidence."""
    runs, verdicts = pytestconfig.stash[RUNS], pytestconfig.stash[VERDICTS]

    def record_verdict(image: Image, run: Run, good: bool, key: str) -> None:
        _records.extend(verdicts.of(image, run, good, key))

    def record_reuse(image: Image, test: str, standing: Standing) -> None:
        _records.append(verdicts.reused(image, test, standing.words))

    plan = pytestconfig.stash[PLAN]
    if pytestconfig.getoption("--forget"):
        return OutcomeReporter(harness_session, runs, record_property, plan=plan)
    return OutcomeReporter(harness_session, runs, record_property, record_verdict, record_reuse, plan)


@pytest.fixture
def run_guest(
    harness_session: Session, outcome_reporter: OutcomeReporter, request: pytest.FixtureRequest
) -> GuestRun:
    """Runs an in-guest test on a cell."""
    folder, item, runs = request.config.rootpath, request.node.nodeid, outcome_reporter.runs.parent
    session = harness_session
    plan = request.config.stash[PLAN]
    return GuestRun(session, outcome_reporter, lambda cell: item_again(session, cell, folder, item, runs), plan)


@pytest.fixture
def run_app(
    harness_session: Session, outcome_reporter: OutcomeReporter, pytestconfig: pytest.Config
) -> AppTest:
    """Runs an app on a cell."""
    return AppTest(harness_session, outcome_reporter, pytestconfig.getoption("--duration"))


@pytest.fixture
def measure(
    harness_session: Session, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> Callable[[Cell, str], None]:
    """Takes a measurement of a cell, stores it, and compares it with earlier ones."""
    from harness.integrations.pytest_plugin.history import MeasurementTest

    options, stash = pytestconfig.getoption, pytestconfig.stash
    return MeasurementTest(
        harness_session, options("--history"), stash[RUN], stash[RUNS], options("--duration"), record_property
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the verdicts of a test to its report, which goes to the process that stores them."""
    report = yield
    if report.when == "call" and _records:
        report.osv_records = [(type(one).__name__, one.to_json()) for one in _records]  # type: ignore[attr-defined]
        _records.clear()
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Store each verdict, and the duration of each pass. A test that hung says nothing about durations."""
    if _writer:
        for kind, row in getattr(report, "osv_records", ()):
            _writer[-1].add({one.__name__: one for one in (VerdictRecord, Document)}[kind].from_json(row))
    properties = dict(report.user_properties)
    if report.when == "call" and properties.get("outcome") == Outcome.PASSED:
        _durations[str(properties["cell"]), str(properties["test"])] = float(str(properties["seconds"]))


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show a test that failed and then passed as flaky: it is neither a pass nor an expected failure."""
    if (
        report.when == "call"
        and dict(report.user_properties).get("outcome") == Outcome.FLAKY
        and not report.failed
    ):
        return "flaky", "f", ("FLAKY", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the flaky tests, with their first failure and where both consoles are; and what could not be stored."""
    if not_stored := terminalreporter.config.stash[NOT_STORED]:
        terminalreporter.section("what could not be kept", red=True)
        for why in not_stored:
            terminalreporter.write_line(why)
    if flaky := terminalreporter.stats.get("flaky"):
        terminalreporter.section("flaky: failed while the host was busy, passed alone", yellow=True)
        for report in flaky:
            terminalreporter.write_line(f"{report.nodeid}: {getattr(report, 'wasxfail', '')}".removesuffix(": "))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        return
    not_stored = config.stash[NOT_STORED]
    if _writer and (failed := _writer.pop().finish()):
        not_stored.append(f"verdicts are not in the history: {failed}")
        if config.getoption("--history"):  # an explicit history must be written
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    ours = config.stash[SESSION]
    for cell in {name for name, _ in _durations}:
        parsed = ours.matrix.parse(cell, ours.default_kernel)
        seconds = {test: value for (name, test), value in _durations.items() if name == cell}
        with subscribed(partial(_note_not_stored, not_stored)):
            ours.durations.record(parsed, ours.recorded_accelerator(parsed), seconds)
    _durations.clear()


def _note_not_stored(not_stored: list[str], event: Event) -> None:
    if event.kind == NOT_STORED_EVENT:
        not_stored.append(f"{event.about}: {event.detail}")


_durations: dict[tuple[str, str], float] = {}
_records: list[VerdictRecord | Document] = []
_writer: list[Writer] = []
"""Adds verdicts to the history; at most one, in the process that gets the reports of all tests."""


def _chosen_cells(config: pytest.Config, session: Session) -> list[Cell]:
    cells = [session.cell(text) for text in config.getoption("--cell")]
    if name := config.getoption("cell_set"):
        cells += session.matrix.set(name, session.default_kernel)
    variants, modes = config.getoption("--variant"), config.getoption("--launch")
    if variants or modes:
        cells = session.matrix.vary(cells or [session.cell("qemu-rofs")], variants, modes)
    return list(dict.fromkeys(cells))
