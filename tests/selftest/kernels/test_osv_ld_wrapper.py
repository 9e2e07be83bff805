"""Other layouts of a kernel: the same code in the same order, at other addresses; a real kernel boots in them."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from harness.kernels.osv import ld_wrapper
from harness.kernels.osv.build_config import BuildOptions
from harness.kernels.symbols import Symbols
from harness.metrics import suite
from harness.runner.session import Session


def test_a_layout_puts_pads_after_the_objects_of_a_kernel_alone(tmp_path: Path) -> None:
    words = [
        "-o",
        "build/release.x64/loader.elf",
        "-T",
        "loader.ld",
        "boot.o",
        *(f"{n}.o" for n in range(40)),
        "-lx",
    ]
    first, second = (ld_wrapper.relaid(words, seed, tmp_path) for seed in (1, 2))
    pads = [word for word in first if word not in words]
    assert [word for word in first if word in words] == words, "nothing else moves"
    assert len(pads) > 20 and all(Path(pad).parent == tmp_path for pad in pads)
    assert first != second and first == ld_wrapper.relaid(words, 1, tmp_path)
    with_another = ld_wrapper.relaid([*words, "new.o"], 1, tmp_path)
    assert with_another[: len(first)] == first, "an object's pad is the same whatever is linked beside it"
    assert ld_wrapper.relaid(["-o", "libother.so", "a.o"], 1, tmp_path) == ["-o", "libother.so", "a.o"]


def test_a_relaid_program_is_the_same_but_for_its_addresses(tmp_path: Path) -> None:
    """Linked for real: every function is there, in the same order, at other addresses."""
    objects = []
    for name in ("one", "two", "three", "four"):
        (tmp_path / f"{name}.c").write_text(f"int {name}(void) {{ return 1; }}\n")
        subprocess.run(["gcc", "-c", "-o", tmp_path / f"{name}.o", tmp_path / f"{name}.c"], check=True)
        objects.append(str(tmp_path / f"{name}.o"))
    ld_wrapper.make_pads("as", tmp_path / "pads")

    def linked(words: list[str]) -> dict[str, int]:
        subprocess.run(["ld.bfd", "-shared", *words], check=True)
        rows = subprocess.run(["nm", tmp_path / "loader.elf"], check=True, capture_output=True, text=True).stdout
        return {row.split()[2]: int(row.split()[0], 16) for row in rows.splitlines() if " T " in row}

    words = ["-o", str(tmp_path / "loader.elf"), *objects]
    usual, other = linked(words), linked(ld_wrapper.relaid(words, 3, tmp_path / "pads"))
    assert sorted(usual, key=lambda name: usual[name]) == sorted(other, key=lambda name: other[name])
    assert usual.keys() == other.keys() and usual != other


@pytest.mark.skipif(not os.environ.get("OSV_ROOT"), reason="OSV_ROOT names no OSv checkout")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="OSv is built for this host's arch")
def test_osv_boots_in_another_layout() -> None:
    """The same functions of the same sizes, hardly any of them where it was; a boot costs what it costs."""
    costs, places = [], []
    for layout in (0, 1):
        session = Session(build_options=BuildOptions(layout=layout))
        measurement = suite.prepare(session, session.cell("osv:qemu-ramfs"), "boot-cost", "run", boots=1)
        symbols = measurement.sampler.image.symbols
        assert symbols is not None
        functions = Symbols(symbols, session.cache).functions
        places.append({(one.name, one.size): one.address for one in functions})
        costs.append(measurement.take().samples[0].value)
    assert places[0].keys() == places[1].keys()
    moved = sum(places[0][name] != places[1][name] for name in places[0])
    assert moved > len(places[0]) / 2
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)
