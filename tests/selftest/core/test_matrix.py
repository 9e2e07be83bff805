"""The matrix: names, nearest names, rules, sets; and that its data agrees with an OSv tree, where one is named."""

import os
import re
from pathlib import Path

import pytest

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.matrix import NAME_AXES, Matrix

PROFILES = {
    "x86_64": "all aws base cloud_hypervisor hyperv microvm nvme vbox virtio-mmio virtio-pci vmware xen",
    "aarch64": "all aws base microvm nvme virtio-mmio virtio-pci xen",
}

ONE_EACH = ("openzfs", "app_symbols", "host_zfs", "zfs_disk", "linux_ld", "builder=debian13")
"""Options about which there are rules."""


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix.load()


@pytest.fixture(autouse=True)
def x86_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names mean the same on every host that runs these tests."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("", "osv:x86_64-qemu-rofs-all"),
        ("qemu-rofs", "osv:x86_64-qemu-rofs-all"),
        ("x86_64-qemu-rofs-all", "osv:x86_64-qemu-rofs-all"),
        ("aarch64-qemu-zfs", "osv:aarch64-qemu-zfs-all"),
        ("arm64-zfs", "osv:aarch64-qemu-zfs-all"),
        ("x64", "osv:x86_64-qemu-rofs-all"),
        ("qemu_microvm-rofs-virtio_mmio", "osv:x86_64-qemu_microvm-rofs-virtio-mmio"),
        ("qemu-rofs-virtio-pci", "osv:x86_64-qemu-rofs-virtio-pci"),
        ("virtio-pci", "osv:x86_64-qemu-rofs-virtio-pci"),
        ("linux:qemu-ext", "linux:x86_64-qemu-ext-all"),
        ("xen", "osv:x86_64-xen-rofs-all"),
        ("xen-xen", "osv:x86_64-xen-rofs-xen"),
        ("qemu-rofs-xen", "osv:x86_64-qemu-rofs-xen"),
        ("rofs-aws", "osv:x86_64-qemu-rofs-aws"),
        ("aws-aws", "osv:x86_64-aws-rofs-aws"),
        ("microvm-microvm", "osv:x86_64-qemu_microvm-rofs-microvm"),
        ("rofs_with_zfs", "osv:x86_64-qemu-rofs_with_zfs-all"),
        ("qemu-rofs+lazy_stack+hide_symbols", "osv:x86_64-qemu-rofs-all+hide_symbols+lazy_stack"),
        ("+debug", "osv:x86_64-qemu-rofs-all+debug"),
        ("qemu-rofs-hide_symbols-debug", "osv:x86_64-qemu-rofs-all+debug+hide_symbols"),
    ],
)  # fmt: skip
def test_a_name_means_its_cell(matrix: Matrix, name: str, full: str) -> None:
    assert str(matrix.parse(name, "osv")) == full


def test_the_kernel_and_the_arch_come_from_the_caller_where_the_name_has_none(matrix: Matrix) -> None:
    assert matrix.parse("qemu-rofs", "linux", "aarch64") == Cell("linux", "aarch64", "qemu", "rofs", "all")
    assert matrix.parse("osv:x64", "linux", "aarch64") == Cell("osv", "x86_64", "qemu", "rofs", "all")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("qemu-rosf", "qemu-rofs"),
        ("qmeu-rofs", "qemu-rofs"),
        ("qmeu-rosf", "qemu-rofs"),
        ("aarch64-qemu-ramsf+debug", "aarch64-qemu-ramfs+debug"),
        ("osv:qemu-rosf", "osv:qemu-rofs"),
        ("qemu-rofs-virtio-pcl", "qemu-rofs-virtio-pci"),
        ("qemu-rofs-nvmee", "qemu-rofs-nvme"),
        ("rofs-qemu", "qemu-rofs"),
        ("qemu-rofs+hide_symbol", "hide_symbols"),
        ("osx:qemu-rofs", "osv"),
        ("aarhc64-qemu-rofs", "aarch64-qemu-rofs"),
    ],
)
def test_a_wrong_name_ends_with_the_nearest(matrix: Matrix, name: str, nearest: str) -> None:
    with pytest.raises(CellError) as caught:
        matrix.parse(name, "osv")
    assert re.search(rf"(?<![\w-]){re.escape(nearest)}(?![\w-])", caught.value.hint), caught.value.hint


def test_a_name_like_no_other_says_where_to_look(matrix: Matrix) -> None:
    with pytest.raises(CellError) as caught:
        matrix.parse("hello", "osv")
    assert "'hello' is no value of any axis" in caught.value.message
    assert "osv-harness matrix" in caught.value.hint


def test_every_full_and_every_short_name_reads_back(matrix: Matrix) -> None:
    for kernel in ("linux", "osv"):
        for cell in matrix.cells(kernel, ("debug", "hide_symbols")):
            assert matrix.parse(str(cell), "linux") == cell
            assert matrix.parse(matrix.short(cell), kernel) == cell


@pytest.mark.parametrize(
    "name",
    [
        "osv:x86_64-qemu-rofs-all", "linux:qemu-rofs+hide_symbols", "osv:qemu-rofs-hide_symbols",
        "osv:qemu-rofs/nvme", "osv:", "osv:qemu-rofs-elsewhere", "osv:rofs-qemu", "qemu-rofs",
        "osv:qemu-rofs+nothing", "osv:qemu-rofs/none", "minix:qemu-rofs", "osv:qemu-rofs-none-hide_symbols", "",
    ],
)  # fmt: skip
def test_a_historys_name_is_a_cell_or_nothing(matrix: Matrix, name: str) -> None:
    try:
        cell = matrix.parse(name, "")
    except CellError:
        cell = None
    assert matrix.find(name) == cell


def test_a_short_name_drops_this_hosts_arch_and_the_default_profile(matrix: Matrix) -> None:
    assert matrix.short(matrix.parse("x86_64-qemu-rofs-all", "osv")) == "qemu-rofs"
    assert matrix.short(matrix.parse("aarch64-qemu-rofs-all+debug", "osv")) == "aarch64-qemu-rofs+debug"
    assert matrix.short(matrix.parse("qemu-ramfs-xen", "osv")) == "qemu-ramfs-xen"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("osv:aarch64-qemu-rofs-vmware", "no profile vmware for aarch64"),
        ("osv:aarch64-qemu_microvm-rofs", "microvm machine exists on x86_64 only"),
        ("osv:aarch64-hyperkit", "on x86_64 only"),
        ("osv:qemu-rofs-virtio-mmio", "use qemu_microvm"),
        ("osv:qemu_microvm-rofs-virtio-pci", "virtio-mmio devices only"),
        ("osv:firecracker-rofs-nvme", "virtio-mmio devices only"),
        ("osv:qemu-rofs-base", "use ramfs"),
        ("osv:qemu-zfs-aws", "use ramfs"),
        ("osv:qemu-virtiofs-nvme", "conf_drivers_virtio_fs"),
        ("osv:firecracker-virtiofs", "no virtio-fs device"),
        ("osv:qemu-rofs+openzfs", "rofs has none"),
        ("osv:qemu-rofs+host_zfs", "rofs has none without"),
        ("osv:qemu-ramfs+host_zfs", "ramfs has none"),
        ("osv:qemu-zfs+zfs_disk", "beside rofs only"),
        ("osv:qemu-rofs+app_symbols", "+app_symbols+hide_symbols"),
        ("linux:qemu-zfs", "no ZFS"),
        ("linux:qemu-virtiofs", "virtiofs is no root filesystem of the linux kernel"),
        ("linux:qemu-rofs-nvme", "profiles are OSv's"),
        ("linux:qemu-rofs+debug", "options are OSv's"),
        ("linux:vmware-rofs", "vmware boots from a disk only"),
        ("linux:openstack-rofs", "openstack boots from a disk only"),
        ("osv:openstack-rofs-nvme", "OpenStack has virtio disks"),
    ],
)
def test_an_invalid_cell_has_its_rules_reason(matrix: Matrix, name: str, reason: str) -> None:
    cell = matrix.parse(name, "osv")
    assert reason in (matrix.invalid(cell) or "valid")
    with pytest.raises(CellError, match=re.escape(reason)):
        matrix.check(cell)
    with pytest.raises(CellError, match=re.escape(reason)):
        matrix.cell(name, "osv")


def test_cells_are_varied_and_each_is_checked(matrix: Matrix) -> None:
    cell = matrix.cell("osv:x86_64-qemu-rofs+hide_symbols+pie/nvme", "osv")
    assert matrix.vary([cell]) == [cell]
    short = [str(one).partition("-all+")[2] for one in matrix.vary([cell], ["ahci", "nvme"], ["static", "pie"])]
    assert short == [
        "hide_symbols+static/ahci", "hide_symbols+pie/ahci", "hide_symbols+static/nvme", "hide_symbols+pie/nvme",
    ]  # fmt: skip
    with pytest.raises(CellError, match="lacks conf_drivers_ahci"):
        matrix.vary([matrix.cell("osv:qemu-rofs-nvme", "osv")], ["ahci"])


def test_options_are_added_to_a_cell_and_checked(matrix: Matrix) -> None:
    cell = matrix.cell("osv:qemu-rofs+hide_symbols+pie", "osv")
    assert matrix.with_options(cell, ["debug"]).options == ("debug", "hide_symbols", "pie")
    for wrong, reason in (("debgu", "debug"), ("static", "one launch mode"), ("host_zfs", "ZFS")):
        with pytest.raises(CellError, match=reason):
            matrix.with_options(cell, [wrong])


@pytest.mark.parametrize(
    "name",
    [
        "osv:qemu-rofs", "osv:qemu-zfs+openzfs", "osv:qemu-rofs_with_zfs+openzfs",
        "osv:qemu-rofs+zfs_disk", "osv:qemu-rofs+openzfs+zfs_disk", "osv:qemu-zfs+host_zfs", "osv:qemu-rofs-nvme",
        "osv:aarch64-qemu-rofs-virtio-mmio", "osv:qemu_microvm-rofs-microvm", "osv:firecracker-rofs",
        "osv:qemu-ramfs-base", "osv:aws-rofs-nvme", "osv:aws-ramfs-aws", "osv:xen-zfs-xen",
        "osv:openstack-rofs-virtio-pci",
        "osv:qemu-rofs+app_symbols+hide_symbols", "osv:cloud_hypervisor-virtiofs-cloud_hypervisor",
        "linux:qemu-rofs", "linux:aarch64-qemu-ext", "linux:qemu-ramfs",
    ],
)  # fmt: skip
def test_cells_that_make_sense_are_valid(matrix: Matrix, name: str) -> None:
    assert matrix.invalid(matrix.parse(name, "osv")) is None


def test_every_rule_is_the_reason_for_some_cell_and_reads_well(matrix: Matrix) -> None:
    """A rule that others hide, or that matches nothing, says something that is not so."""
    unused = set(map(id, matrix.rules))
    for kernel in ("linux", "osv"):
        for options in ((), *((one,) for one in ONE_EACH)):
            for cell in matrix.cells(kernel, options):
                if rule := matrix.rule_against(cell):
                    unused.discard(id(rule))
                    assert re.fullmatch(r"[A-Z\w][^{}]+\.", rule.because(cell))
    assert not [rule.reason for rule in matrix.rules if id(rule) in unused]


def test_every_value_of_every_axis_and_every_option_is_in_some_valid_cell_of_osv(matrix: Matrix) -> None:
    valid = [cell for cell in matrix.cells("osv") if not matrix.invalid(cell)]
    for axis in NAME_AXES:
        assert {getattr(cell, axis) for cell in valid} == set(matrix.axes[axis].values)
    for arch, profiles in PROFILES.items():
        assert {cell.profile for cell in valid if cell.arch == arch} == set(profiles.split())
    sets = [cell for name in ("nightly", "launch", "builders") for cell in matrix.set(name, "osv")]
    assert {option for cell in sets for option in cell.options} == set(matrix.options)


def test_sets_hold_valid_cells_only_and_each_once(matrix: Matrix) -> None:
    for kernel in ("linux", "osv"):
        for name in matrix.sets:
            cells = matrix.set(name, kernel)
            assert cells or (kernel, name) == ("linux", "builders")
            assert len(cells) == len(set(cells))
            assert all(cell.kernel == kernel and not matrix.invalid(cell) for cell in cells)
    assert set(matrix.set("quick", "osv")) <= set(matrix.set("nightly", "osv"))


def test_an_unknown_set_ends_with_the_nearest(matrix: Matrix) -> None:
    with pytest.raises(CellError) as caught:
        matrix.set("nighlty", "osv")
    assert "nightly" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ('when = { fs = ["virtiofs"] }', 'when = { fs = ["virtofs"] }', "virtiofs"),
        ('when = { fs = ["virtiofs"] }', 'when = { filesystem = ["virtiofs"] }', "Known are: kernel, arch"),
        ("@with_zfs", "@wiht_zfs", "with_zfs"),
        ('option = ["openzfs"]', 'option = ["openzsf"]', "openzfs"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path: Path, old: str, new: str, nearest: str) -> None:
    text = (project.SHIPPED / "matrix.toml").read_text()
    assert old in text
    path = tmp_path / "matrix.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(CellError) as caught:
        Matrix.load(path)
    assert nearest in caught.value.hint


@pytest.fixture(scope="module")
def osv() -> Path:
    if "OSV_ROOT" not in os.environ:
        pytest.skip("OSV_ROOT names no OSv checkout to compare the matrix with")
    return Path(os.environ["OSV_ROOT"])


def test_profiles_and_filesystems_are_those_of_the_osv_tree(osv: Path, matrix: Matrix) -> None:
    for arch, folder in (("x86_64", "x64"), ("aarch64", "aarch64")):
        profiles = {path.stem for path in (osv / "conf/profiles" / folder).glob("*.mk")}
        assert profiles == set(PROFILES[arch].split())
    handled = re.findall(r"^([a-z_|]+)\)$", (osv / "scripts/build").read_text(), re.MULTILINE)
    filesystems = set("|".join(handled).split("|"))
    assert set(matrix.axes["fs"].values) <= filesystems


def test_rules_about_drivers_agree_with_the_profiles_of_the_osv_tree(osv: Path, matrix: Matrix) -> None:
    drivers = {arch: _drivers(osv / "conf/profiles" / folder) for arch, folder in
               (("x86_64", "x64"), ("aarch64", "aarch64"))}  # fmt: skip
    for cell in matrix.cells("osv"):
        has = drivers[cell.arch].get(cell.profile)
        if has is None or matrix.invalid(cell):
            continue
        needed = {
            ("firecracker", "rofs"): {"mmio", "virtio_blk"}, ("qemu_microvm", "rofs"): {"mmio", "virtio_blk"},
            ("cloud_hypervisor", "rofs"): {"pci", "virtio_blk"}, ("qemu", "virtiofs"): {"virtio_fs"},
            ("xen", "rofs"): {"xen"}, ("gce", "rofs"): {"virtio_scsi", "virtio_net"},
            ("openstack", "rofs"): {"pci", "virtio_blk"},
        }.get((cell.hypervisor, cell.fs), set())  # fmt: skip
        assert needed <= has, cell
    hpet = [rule for rule in matrix.host_rules if "has no HPET driver" in rule.reason]
    for profile in PROFILES["x86_64"].split():
        cell = Cell("osv", "x86_64", "qemu", "ramfs", profile)
        assert any(rule.applies(cell) for rule in hpet) == ("hpet" not in drivers["x86_64"][profile]), profile


def _drivers(folder: Path) -> dict[str, set[str]]:
    """The drivers that each profile switches on, itself or through what it includes or base.mk makes of it."""

    def of(profile: str) -> set[str]:
        text = (folder / f"{profile}.mk").read_text()
        found = set(re.findall(r"^conf_drivers_(\w+)\?=1", text, re.MULTILINE))
        for included in re.findall(r"^include \S+/([\w-]+)\.mk", text, re.MULTILINE):
            if included != "base":
                found |= of(included)
        return found

    return {path.stem: of(path.stem) if path.stem != "base" else set() for path in folder.glob("*.mk")}
