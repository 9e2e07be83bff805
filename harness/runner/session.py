"""Everything that one run works with: cells, kernels, images, runners; each is made once, when it is first
needed."""

import difflib
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from math import inf
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.machine import Image
from harness.core.matrix import Matrix
from harness.core.variants import machine_profile_of
from harness.host.availability import AvailabilityCheck, Support
from harness.host.cache import Cache
from harness.host.cpu_slots import ALL_CPUS, cpu_slots
from harness.host.host import Host
from harness.host.in_lab import recorded
from harness.kernels import registry
from harness.kernels.base import Kernel
from harness.kernels.osv.build_config import BuildOptions, ImageModules
from harness.kernels.osv.kernel import Osv
from harness.kernels.prebuilt.kernel import BUILDERS, Files, tests_or_why_not
from harness.kernels.rootfs.contents import Contents
from harness.runner import catalog
from harness.runner.base import Program, Run, Runner
from harness.runner.durations import Durations
from harness.runner.interaction import Interaction
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv.runner import OsvRunner
from harness.runner.retry import run_with_retry
from harness.vm.registry import driver_names, hypervisor


class Session:
    """One run's kernels and guests. `osv_root` names an OSv checkout; without one, the kernel is `linux`. `arch`
    is used for cells whose names give none; by default it is this host's. `images` are used for their cells in
    place of what would be built. With `fork`, OSv's guests are forks of booted ones, as Linux's always are."""

    def __init__(
        self,
        osv_root: Path | None = None,
        cache: Cache | None = None,
        build_options: BuildOptions = BuildOptions(),  # noqa: B008
        files: Files | None = None,
        arch: str | None = None,
        images: Mapping[Cell, Image] | None = None,
        fork: bool = False,
    ) -> None:
        named = os.environ.get("OSV_ROOT")
        self.osv_root = osv_root or (Path(named) if named else None)
        self.cache = cache or Cache()
        self.files = files
        self.arch = arch
        self.build_options = build_options
        self.fork = fork
        self.durations = Durations(self.cache)
        self._images: dict[Cell, Image] = dict(images or {})
        self._runners: dict[Cell, Runner] = {}
        self._programs: dict[Cell, list[Program]] = {}

    @cached_property
    def matrix(self) -> Matrix:
        """The matrix, from its file."""
        return Matrix.load()

    @cached_property
    def host(self) -> Host:
        """This machine."""
        return Host()

    @property
    def default_kernel(self) -> str:
        """The kernel of a cell that names none."""
        return "osv" if self.osv_root or self.files else "linux"

    def cell(self, text: str) -> Cell:
        """The valid cell with that name; the default kernel and arch are used if it gives none. Raises
        `CellError`."""
        return self.matrix.cell(text, self.default_kernel, self.arch)

    def kernel(self, name: str) -> Kernel:
        """The kernel with that name. Raises what `harness.kernels.registry` raises."""
        return registry.kernel(name, self.osv_root, self.build_options, self.files)

    def accelerator(self, cell: Cell) -> str:
        """The accelerator of the cell's guests here, as machines need its name."""
        return self.host.accelerator(cell.arch)

    def recorded_accelerator(self, cell: Cell) -> str:
        """The accelerator of the cell's guests here, as limits, results and histories name it: `kvm in a lab`."""
        return recorded(self.accelerator(cell))

    @property
    def images(self) -> Mapping[Cell, Image]:
        """The images that were built or given so far."""
        return self._images

    def image(self, cell: Cell) -> Image:
        """The cell's image, built if need be."""
        if cell not in self._images:
            self._images[cell] = self.kernel(cell.kernel).build(cell, self.cache)
        return self._images[cell]

    def check_runs(self, cell: Cell) -> None:
        """Raise `CellError` with the reason if this host can't run the cell, before anything is built for it."""
        built = self.files.kernel if self.files else None
        given = BUILDERS if built else ()
        found = AvailabilityCheck(self.matrix, self.host, driver_names(), built or self.osv_root, given).of(cell)
        if found.support is not Support.RUNS:
            raise CellError(f"The cell {cell}: {found.support}.", found.reason)

    def runner(self, cell: Cell) -> Runner:
        """The runner of programs on the cell; raises `CellError` with the reason if this host can't run it."""
        if cell not in self._runners:
            self.check_runs(cell)
            self._runners[cell] = self._runner(self.image(cell), fork=self.fork or cell.kernel == "linux")
        return self._runners[cell]

    def image_with(self, cell: Cell, contents: Contents) -> Image:
        """The cell's image with other programs than its tests, even if it can't run here."""
        return self.kernel(cell.kernel).build_with(cell, self.cache, contents)

    def image_of_modules(self, cell: Cell, modules: str) -> Image:
        """The cell's image with modules of OSv's own tree instead of its tests, without the modules' command.
        Raises `CellError` if no checkout is built, and what building raises."""
        kernel = self.kernel(cell.kernel)
        if not isinstance(kernel, Osv):
            raise CellError(f"{modules} is built from an OSv checkout.", "Give --osv-root DIR or set OSV_ROOT.")
        image = kernel.build_modules(cell, self.cache, ImageModules(modules))
        options = " ".join(takewhile(lambda word: word.startswith("--"), image.cmdline.split()))
        return replace(image, cmdline=options)

    def prepare_apps(self, cell: Cell) -> None:
        """Make what all images of the cell share; raises what `runner` raises."""
        self.check_runs(cell)
        self.kernel(cell.kernel).prepare(cell, self.cache)

    def cpu_slots(self, count: int) -> AbstractContextManager[None]:
        """Reserve `count` of this host's cpus, which all runs with this cache share; see
        `harness.host.cpu_slots`."""
        return cpu_slots(count, self.cache.root / "locks" / "vcpus")

    def run(self, cell: Cell, program: Program, interaction: Interaction | None = None) -> Run:
        """Run a program in a guest of its own, when the host has room for its vCPUs.

        If the host may have caused the failure, it is run again, with no other guest of ours beside it: see
        `harness.runner.retry`.
        """
        runner = self.runner(cell)
        return run_with_retry(str(cell), lambda alone: self._run(runner, program, interaction, alone))

    def run_on(
        self, image: Image, program: Program, interaction: Interaction | None = None, alone: bool = False
    ) -> Run:
        """Run a program once in a booted guest of the image, when the host has room for it or, if `alone`, nothing
        else of ours runs."""
        return self._run(self._runner(image, fork=False), program, interaction, alone)

    def _run(self, runner: Runner, program: Program, interaction: Interaction | None, alone: bool) -> Run:
        cpus = max(program.cpus, machine_profile_of(runner.image.cell, program.variant).cpus)
        sleeps = program.sleeps
        if program.deterministic:
            cpus, sleeps = 1, False  # all vCPUs share a thread, and the clock goes on without sleep
        with ExitStack() as held:
            if sleeps or alone:
                held.enter_context(cpu_slots(ALL_CPUS if alone else 1, self.cache.root / "locks" / "sleeping"))
            if alone or not sleeps:
                held.enter_context(self.cpu_slots(ALL_CPUS if alone else cpus))
            return runner.run(program, interaction)

    def known_seconds(self, cell: Cell) -> dict[str, float]:
        """The longest recorded seconds of the cell's tests."""
        return self.durations.longest(cell, self.recorded_accelerator(cell))

    def expected_seconds(self, cell: Cell) -> dict[str, float]:
        """Seconds by which the cell's tests are ordered: those recorded here, else typical ones."""
        accelerator = self.recorded_accelerator(cell)
        return catalog.typical_seconds(cell.kernel, accelerator) | self.durations.longest(cell, accelerator)

    def programs(self, cell: Cell) -> list[Program]:
        """The cell's in-guest tests, by name."""
        if cell not in self._programs:
            known = self.known_seconds(cell)
            if self.files:
                tests_or_why_not(self.image(cell))
            self._programs[cell] = catalog.programs(
                self.image(cell), self.recorded_accelerator(cell), known,
                lambda name: not self.matrix.invalid(replace(cell, variant=name)),
            )  # fmt: skip
        return self._programs[cell]

    def longest_first(self, cells: Iterable[Cell]) -> list[tuple[Cell, Program]]:
        """The tests of all cells, in the order that keeps several workers busy until the end.

        Of a kernel whose catalog has typical seconds, those of unknown length are short and come last; else first.
        """
        rows = []
        for cell in cells:
            seconds = self.expected_seconds(cell)
            unknown = 0.0 if catalog.typical_seconds(cell.kernel, "tcg") else inf
            rows += [(seconds.get(program.name, unknown), cell, program) for program in self.programs(cell)]
        return [(cell, program) for _, cell, program in sorted(rows, key=lambda row: -row[0])]

    def program(self, cell: Cell, name: str) -> Program:
        """One in-guest test by its name. Raises `CellError` with the nearest names."""
        programs = {program.name: program for program in self.programs(cell)}
        if name not in programs:
            near = difflib.get_close_matches(name, programs, n=3, cutoff=0.4)
            raise CellError(f"{cell} has no test {name}.", f"The nearest are: {', '.join(near) or 'none'}.")
        return programs[name]

    def _runner(self, image: Image, fork: bool) -> Runner:
        cell = image.cell
        driver, accelerator = hypervisor(cell.hypervisor), self.accelerator(cell)
        if cell.kernel == "linux":
            scale = catalog.scale(self.recorded_accelerator(cell))
            return LinuxRunner(image, driver, accelerator, self.cache, scale, fork)
        return OsvRunner(image, driver, accelerator, self.cache, fork)
