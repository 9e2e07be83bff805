"""Measuring, on real kernels: counts that are the same each time, the smallest guest, sizes, printed numbers."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.facts import parse_facts
from harness.core.machine import Image
from harness.metrics import app_load, boot, guest_benchmarks, memory, registry, size, suite
from harness.metrics.checkpoints import addresses
from harness.metrics.instruction_count import Checkpoint, CountError, InstructionCounts, checkpoints, count
from harness.metrics.records import Metric, Sample
from harness.metrics.sampler import Sampler
from harness.runner.base import Program
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.vm.registry import hypervisor
from harness.workloads.apps.app import App, app
from harness.workloads.apps.run import build_of, image_of, run_app
from harness.workloads.load.result import Generator
from harness.workloads.load.run import Result

MANY = int(os.environ.get("OSV_HARNESS_COUNTS", "4"))
"""Counted boots of a cell, half of them beside busy processes; 100 is what the docs tell of."""

LINUX, OSV, OSV_ARM = "linux:aarch64-qemu-ramfs", "osv:x86_64-qemu-ramfs", "osv:aarch64-qemu-ramfs"


def _cell(session: Session, name: str) -> Cell:
    if name.startswith("osv:") and session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    return session.cell(name)


def _hello(session: Session, name: str) -> tuple[Sampler, App]:
    cell = _cell(session, name)
    hello = app("hello", cell)
    return Sampler(session, image_of(session, cell, hello), "run"), hello


@contextmanager
def _two_busy_processes() -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


@pytest.mark.parametrize("name", [LINUX, OSV, OSV_ARM])
def test_a_boot_costs_the_same_each_time_whatever_else_runs(session: Session, name: str) -> None:
    counter = boot.BootCounter(*_of(_hello(session, name)))
    boots_counted = [counter.count() for _ in range(MANY // 2)]
    with _two_busy_processes():
        boots_counted += [counter.count() for _ in range(MANY - MANY // 2)]
    assert len(set(boots_counted)) == 1, [one.total for one in boots_counted]
    assert boots_counted[0].total == sum(instructions for _, instructions in boots_counted[0].phases) > 1_000_000


def _of(taken: tuple[Sampler, App]) -> tuple[Session, object, App]:
    sampler, hello = taken
    return sampler.session, sampler.image, hello


@pytest.mark.parametrize("name", [LINUX, OSV])
def test_a_few_more_instructions_are_seen_from_one_boot_each(session: Session, name: str) -> None:
    """The program does its work twice: less than a hundredth of a percent of Linux's boot, in its own phase."""
    sampler, hello = _hello(session, name)
    twice = replace(hello, command=f"{hello.command} again")
    once, more = (boot.BootCounter(session, sampler.image, one).count() for one in (hello, twice))
    assert more.total > once.total
    assert dict(more.phases)["program"] > dict(once.phases)["program"]


def test_samples_of_a_boots_cost_add_up(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    samples = {one.metric.name: one for one in boot.cost(sampler, hello)}
    phases = [one.value for name, one in samples.items() if name.count(".") == 2]
    total = samples["boot.instructions"]
    assert total.value == sum(phases) and len(phases) > 2
    assert total.metric.exact and total.spread == 0
    assert total.version.commit and len(total.version.digest) == 64


def test_a_kernel_that_lacks_a_point_leaves_its_phase_to_the_next(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    wanted = checkpoints("linux")
    where = addresses(session, sampler.image, wanted)
    counter = boot.BootCounter(session, sampler.image, hello)
    whole = counter.count()
    del where["kernel_init"]
    less = count(counter.machine, counter.driver, wanted, where, 240)
    assert less.missed == ("kernel",)
    assert less.total == pytest.approx(whole.total, rel=1e-3), "a stop moves a tick, and what its handler runs"


def test_a_point_with_several_addresses_is_passed_at_the_first_that_is_reached(session: Session) -> None:
    """Which of the calls of a function the kernel runs is not for the harness to guess."""
    sampler, hello = _hello(session, LINUX)
    counter = boot.BootCounter(session, sampler.image, hello)
    where = addresses(session, sampler.image, checkpoints("linux"))
    (called,) = where["kernel_init"]
    where["kernel_init"] = [called + 1, called]  # no instruction begins at the first
    assert count(counter.machine, counter.driver, checkpoints("linux"), where, 240) == counter.count()


def test_a_boot_that_never_gets_there_says_so_with_its_last_words(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    counter = boot.BootCounter(session, sampler.image, hello)
    nowhere = replace(counter.machine, cmdline=counter.machine.cmdline.replace("rdinit=", "rdinit=/no"))
    with pytest.raises(CountError, match="before it passed never") as caught:
        count(nowhere, counter.driver, [Checkpoint("end", "never")], {}, 240)
    assert "ended before" in caught.value.message


def test_phases_out_of_order_are_missed_ones() -> None:
    assert InstructionCounts((("a", 5), ("b", 7))).until("b") == 5
    assert InstructionCounts((("a", 5), ("b", 7))).total == 12


def test_a_boot_by_the_clock_has_phases_that_add_up(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    samples = boot.wall(sampler, hello, boots=1)
    total, *phases = (one.value for one in samples)
    assert total == pytest.approx(sum(phases)) and min(phases) >= 0
    assert [one.metric.name for one in samples[1:]] == ["boot.wall.kernel", "boot.wall.program", "boot.wall.end"]


def test_boots_by_the_clock_of_what_does_not_pass_are_no_samples(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    with pytest.raises(HarnessError, match="did not pass"):
        boot.wall(sampler, replace(hello, command="/bin/false"), boots=1)


@given(st.integers(1, 256), st.sets(st.integers(1, 256), max_size=3))
def test_the_smallest_memory_is_found_in_a_tenth_of_all_boots(edge: int, odd: set[int]) -> None:
    """A few sizes do the other thing: they hang above the edge, or happen to pass below it."""
    found = memory.smallest(lambda size: (size >= edge) != (size in odd and size != 256), 256)
    assert found is not None
    passing = [size for size in range(1, 257) if (size >= edge) != (size in odd and size != 256)]
    assert found.memory in passing
    assert found.memory - 1 not in passing, "what is one less was asked, and failed"
    if not odd:
        assert found.memory == edge and len(found.boots) <= 25


def test_memory_that_passes_at_times_is_not_enough() -> None:
    turns: dict[int, int] = {}

    def passes(size: int) -> bool:
        turns[size] = turns.get(size, 0) + 1
        return size > 40 or (size == 40 and turns[size] != 2)

    found = memory.smallest(passes, 128)
    assert found is not None and found.memory == 41
    assert memory.smallest(lambda size: False, 64) is None


def test_the_smallest_guest_is_the_edge_of_a_real_kernel(session: Session) -> None:
    """A little more passes again, one MiB less was asked and failed, and much less fails however long it has.

    At the edge itself a guest passes three times and may fail the fourth.
    """
    sampler, hello = _hello(session, LINUX if session.osv_root is None else "osv:x86_64-qemu-rofs")
    sample, found = memory.minimum(sampler, replace(hello, memory=128))
    assert sample.value == found.memory and sample.metric.unit == "MiB"
    again = [
        session.run_on(sampler.image, Program("hello", hello.command, 60.0, memory=size, prints=hello.prints))
        for size in (found.memory + 8, found.memory - 8)
    ]
    said = [f"{run.verdict.outcome}: {run.verdict.reason}" for run in again]
    assert [one.startswith("passed:") for one in said] == [True, False], (said, found)
    assert (found.memory - 1, False) in found.boots


def test_used_memory_is_what_the_guest_tells(session: Session) -> None:
    sampler, hello = _hello(session, LINUX)
    (sample,) = memory.used(sampler, hello)
    assert 1 << 20 < sample.value < 256 << 20
    assert not sample.metric.exact, "an agent is told its program when the host comes to it"


@pytest.mark.parametrize("name", [OSV, OSV_ARM])
def test_used_memory_is_the_same_in_each_boot_whatever_else_runs(session: Session, name: str) -> None:
    sampler, hello = _hello(session, name)
    alone = [memory.used(sampler, hello)[0] for _ in range(2)]
    with _two_busy_processes():
        beside = [memory.used(sampler, hello)[0] for _ in range(2)]
    assert all(sample.metric.exact for sample in alone)
    assert len({sample.value for sample in alone + beside}) == 1


def test_a_counted_program_is_emulated_where_others_run_on_hardware(session: Session, tmp_path: Path) -> None:
    image = Image(session.matrix.parse(OSV, "osv"), tmp_path, "", "")
    runner = OsvRunner(image, hypervisor("qemu"), "kvm", session.cache)
    program = Program("hello", "/hello", 1.0)
    assert runner.machine(program).accelerator == "kvm"
    boots_counted = runner.machine(replace(program, deterministic=True))
    assert boots_counted.deterministic and boots_counted.accelerator == "tcg"


def test_sizes_of_a_kernel_are_those_of_its_files(session: Session) -> None:
    sampler, _ = _hello(session, "linux:x86_64-qemu-ramfs" if session.osv_root is None else OSV)
    sizes = {one.metric.name: one.value for one in size.sizes(sampler)}
    assert sizes["size.kernel"] == sampler.image.kernel.stat().st_size
    assert sizes["size.compressed"] < sizes["size.kernel"] <= sizes["size.image"]
    assert sizes["size.section.text"] > 1 << 20
    if session.osv_root:
        assert sizes["size.symbols"] > 1000
        assert sizes["size.part.core"] > sizes["size.part.fs/rofs"] > 1000


def test_exported_symbols_are_those_that_others_may_use(tmp_path: Path) -> None:
    source, library = tmp_path / "a.c", tmp_path / "a.so"
    source.write_text(
        'int shown(void) { return 1; } __attribute__((visibility("hidden"))) int hidden(void) { return 2; }'
        'static int own(void) { return 3; } int puts(const char *); int used(void) { return puts("") + own(); }'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-g", "-nostdlib", "-o", library, source], check=True)
    assert size.exported_symbols(library) == 2
    folders = size.parts(library)
    assert len(folders) == 2 and folders["libraries"] >= 0 and sum(folders.values()) > 20
    assert size.sections(source) == {} and size.exported_symbols(source) == 0 and size.parts(source) == {}


BENCHMARK = guest_benchmarks.Benchmark(
    Program("b", "/b", 1.0),
    ({"line": r"^(?P<what>\w+)=(?P<value>[\d.e+]+|nan|inf) ns$", "metric": "guest.b.{what}", "unit": "ns"},),
)


def test_printed_numbers_become_metrics_once_each() -> None:
    lines = ["one=1.5 ns", "one=9 ns", "noise", "two=2e3 ns", "inf=inf ns", "nan=nan ns", "2=3 ns\x1b[31m"]
    found = {metric.name: value for metric, value in guest_benchmarks.numbers(BENCHMARK, lines)}
    assert found == {"guest.b.one": 1.5, "guest.b.two": 2000.0}


@given(st.lists(st.text(max_size=40), max_size=200))
def test_no_text_of_a_guest_breaks_the_numbers(lines: list[str]) -> None:
    loose = replace(BENCHMARK, numbers=({"line": "^(?P<what>.*)(?P<value>[0-9])", "metric": "guest.b.{what}_",
                                         "unit": "ns"},))  # fmt: skip
    for metric, value in guest_benchmarks.numbers(loose, [*lines, *(f"<b>{line}&9" for line in lines)]):
        assert math.isfinite(value) and "<" not in metric.name


def test_a_benchmark_without_its_numbers_is_an_error(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    sampler = Sampler(session, session.image(cell), "run")
    silent = replace(BENCHMARK, program=Program("silent", "true", 30.0))
    with pytest.raises(HarnessError, match="printed no number"):
        guest_benchmarks.run_benchmark(sampler, silent)
    talks = replace(BENCHMARK, program=Program("talks", "echo 'one=4.5 ns'", 30.0))
    assert [(one.metric.name, one.value) for one in guest_benchmarks.run_benchmark(sampler, talks)] == [
        ("guest.b.one", 4.5)
    ]


def test_loads_become_samples_unless_their_generator_was_the_limit(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    nginx = app("nginx", cell)
    done = run_app(session, cell, nginx, duration=1.0)
    free = replace(done, loads=tuple(replace(one, generator=Generator()) for one in done.loads))
    sampler = Sampler(session, done.image, "run")
    names = [one.metric.name for one in app_load.samples_of(sampler, free)]
    hows = {one.metric.name: parse_facts(one.procedure) for one in app_load.samples_of(sampler, free, 1.0)}
    load = next(name.split(".")[2] for name in names if name.endswith(".throughput"))
    how = hows[f"app.nginx.{load}.p99"]
    assert how["duration"] == "1" and how["users"] == str(nginx.loads[load].users)
    assert how["generator"].split()[0] == nginx.loads[load].tool and how["generator"] != nginx.loads[load].tool
    own = {one.metric.name: parse_facts(one.procedure) for one in app_load.samples_of(sampler, free)}
    assert own[f"app.nginx.{load}.p99"]["duration"] == f"{nginx.loads[load].duration:g}"
    assert "1 s" in hows["memory.private"]["loads"] and "duration" not in hows["app.nginx.ready"]
    assert [name for name in names if name.endswith(".throughput")], names
    assert {"app.nginx.ready", "memory.private"} < set(names)
    limited = replace(done, loads=tuple(replace(one, generator=Generator(limited=True)) for one in done.loads))
    assert not [one for one in app_load.samples_of(sampler, limited) if "throughput" in one.metric.name]
    kept = app_load.documents_of(sampler, done)
    assert [Result.from_json(one.body) for one in kept] == list(done.loads)


def test_every_metric_of_a_measurement_is_taken_by_it(session: Session) -> None:
    cell = session.cell(LINUX)
    for name in ("boot-cost", "size", "boot-wall"):
        units = {re.sub(r"\{\w+\}", "*", row.name): row.unit for row in registry.of_kernel()[name].metrics}
        for sample in suite.prepare(session, cell, name, "run", boots=1).take().samples:
            assert suite.measuring(sample.metric.name, cell) == name
            named = [pattern for pattern in units if fnmatchcase(sample.metric.name, pattern)]
            assert [units[pattern] for pattern in named[:1]] == [sample.metric.unit]
    assert suite.measuring("app.nginx.most.throughput", cell) == "app-nginx"
    with pytest.raises(HarnessError) as caught:
        suite.measuring("boot.instructons", cell)
    assert "boot.instructions" in caught.value.hint
    with pytest.raises(HarnessError, match="No measurement"):
        suite.measuring("boot.instructions.nowhere", cell)
    with pytest.raises(HarnessError, match="No measurement"):
        suite.measuring("no.such", cell)
    with pytest.raises(HarnessError, match="No measurement"):
        suite.measuring("app.emacs.throughput", cell)


def test_what_may_be_compared(session: Session) -> None:
    """Exact numbers wherever the emulator is the same; others on the same host only."""
    sampler, _ = _hello(session, LINUX)
    here = sampler.take(Metric("boot.wall", "s"), 1.0)
    there = replace(here, environment=replace(here.environment, host="other", load=9.0))
    assert here.series != there.series
    assert here.series == replace(here, environment=replace(here.environment, load=9.0)).series
    exact = [replace(one, metric=Metric("boot.instructions", "instructions", exact=True)) for one in (here, there)]
    assert exact[0].series == exact[1].series
    newer = replace(exact[0], environment=replace(here.environment, emulator="QEMU 99"))
    assert newer.series != exact[0].series
    assert Sample.from_json(here.to_json()) == here


@pytest.mark.parametrize("name", ["", "a..b", "a b", "<i>", "a.\x1b", "a" * 3 + "."])
def test_metrics_have_plain_names(name: str) -> None:
    with pytest.raises(HarnessError, match="no metric's name"):
        Metric(name, "s")


def test_measurements_are_listed_the_quickest_first(session: Session) -> None:
    names = suite.names(session.cell(LINUX))
    assert names[:5] == ["boot-cost", "size", "boot-wall", "memory-used", "memory"] and "app-redis" in names
    assert len(set(names)) == len(names)


def test_what_a_number_depends_on_is_recorded_with_it(session: Session) -> None:
    """The guest's size, the program's own build, what built the kernel, what boots it."""
    cell = session.cell("linux:qemu-rofs")
    (sample, *_) = suite.prepare(session, cell, "size", "run").take().samples
    how = parse_facts(sample.procedure)
    hello = app("hello", cell)
    assert (how["memory"], how["cpus"]) == (str(hello.memory), str(hello.cpus))
    assert how["program"].startswith("hello ")
    assert parse_facts(sample.version.builder)["packages"].startswith("Debian ")
    assert sample.environment.firmware.startswith("SeaBIOS ") is (cell.arch == "x86_64")
    for other in (
        replace(sample, procedure=""), replace(sample, version=replace(sample.version, builder="")),
        replace(sample, environment=replace(sample.environment, firmware="")),
    ):  # fmt: skip
        assert other.series != sample.series
    nginx = app("nginx", cell)
    image = image_of(session, cell, nginx)
    assert "nginx" in build_of(session, image, nginx) and "?" not in build_of(session, image, nginx)
