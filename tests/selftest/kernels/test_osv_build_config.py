"""What is asked of OSv's scripts/build for a cell, and what of the sources is adapted to it."""

from pathlib import Path

import pytest
from osv_standin import ROFS, config_of, empty_tree, looks_like_osv

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.kernels.osv import build_config, patches
from harness.kernels.osv.build_config import ImageModules
from harness.kernels.osv.build_tree import Tree
from harness.kernels.osv.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository that looks like OSv, with `lib` as its submodule musl."""
    return looks_like_osv(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree."""
    return empty_tree(tmp_path)


def test_options_become_variables_on_the_command_line_and_in_base_mk(checkout: Path, tree: Tree) -> None:
    cell = Cell("osv", "x86_64", "qemu", "zfs", "microvm", ("lazy_stack", "debug"))
    [words] = config_of(cell, build_config.tests_of(cell)).commands(4)
    assert words[:5] == ["scripts/build", "-j4", "arch=x64", "mode=debug", "conf_drivers_profile=microvm"]
    assert words[5:] == ["conf_lazy_stack=1", "conf_lazy_stack_invariant=1", "fs=zfs", "image=tests"]
    tree.sync(Checkout(checkout), patches.adaptation(cell, "v1", java=False))
    text = (tree.sources / "conf/base.mk").read_text()
    assert text == "conf_hide_symbols=0\nconf_lazy_stack=1\nconf_lazy_stack_invariant=1\n"


@pytest.mark.parametrize(
    ("fs", "options", "made", "image"),
    [
        ("ramfs", (), "umount.so", "image=empty"),
        ("rofs_with_zfs", (), "zfs_builder-stripped.elf", "image=empty,zfs"),
        ("rofs", ("zfs_disk",), "zfs_builder-stripped.elf", "image=empty,zfs"),
    ],
)
def test_what_only_a_zfs_build_makes_is_made_before_it_is_missed(
    fs: str, options: tuple[str, ...], made: str, image: str
) -> None:
    cell = Cell("osv", "x86_64", "qemu", fs, "all", options)
    config, make, build = config_of(cell).commands(2)
    assert config[:3] == ["make", "-f", "conf/Makefile"] and make[-1].endswith(made)
    assert image in build and ("--create-zfs-disk" in build) == bool(options)


def test_zfs_is_made_by_the_hosts_tools_where_the_cell_says_so() -> None:
    [build] = config_of(Cell("osv", "x86_64", "qemu", "zfs", "all", ("host_zfs",))).commands(2)
    assert "--use-openzfs" in build and not any(word.startswith("conf_zfs") for word in build)


def test_app_symbols_builds_twice_and_the_second_time_with_the_symbols_of_the_first() -> None:
    cell = Cell("osv", "x86_64", "qemu", "rofs", "all", ("app_symbols",))
    first, generate, second = config_of(cell, ImageModules()).commands(2)
    assert "conf_hide_symbols=1" in first and generate[0] == "scripts/generate_app_version_script.sh"
    assert second == [*first, "conf_version_script=build/last/app_version_script"]


def test_app_symbols_are_stripped_of_blanks_before_they_are_sorted() -> None:
    cell = Cell("osv", "x86_64", "qemu", "rofs", "all", ("app_symbols",))
    edit = patches.adaptation(cell, "v1", java=True).edits["scripts/generate_app_version_script.sh"]
    wanted = 'cut | tr -d " " | LC_COLLATE=C sort | uniq | comm'
    assert edit('cut | LC_COLLATE=C sort | uniq | tr -d " " | comm') == wanted
    assert edit(wanted) == wanted


def test_java_tests_left_out_are_an_empty_module(checkout: Path, tree: Tree) -> None:
    tree.sync(Checkout(checkout), patches.adaptation(ROFS, "v1", java=False))
    assert [path.name for path in (tree.sources / "modules/java-tests").iterdir()] == ["module.py"]
    tree.sync(Checkout(checkout), patches.adaptation(ROFS, "v1", java=True))
    assert (tree.sources / "modules/java-tests/Makefile").exists()


@pytest.mark.parametrize(
    ("unbuildable", "word"),
    [
        (Cell("osv", "riscv64", "qemu", "rofs", "all"), "riscv64"),
        (Cell("osv", "x86_64", "qemu", "btrfs", "all"), "btrfs"),
        (Cell("osv", "x86_64", "qemu", "rofs", "all", ("lto",)), "lto"),
    ],
)
def test_what_osv_does_not_know_is_refused_by_name(unbuildable: Cell, word: str) -> None:
    with pytest.raises(CellError, match=word):
        build_config.check(unbuildable)


def test_fs_and_programs_share_a_tree_and_kernels_do_not() -> None:
    def name(fs: str, profile: str = "all", *options: str) -> str:
        return build_config.tree_name(Cell("osv", "x86_64", "qemu", fs, profile, options))

    assert name("rofs") == name("zfs") == name("rofs", "all", "linux_ld") == name("rofs", "all", "zfs_disk")
    kernels = [name("rofs"), name("rofs", "base"), name("rofs", "all", "debug"), name("rofs", "all", "openzfs")]
    assert len(set(kernels)) == 4
