"""Build trees: what a sync writes and what it leaves, which outputs stay, and what a killed build leaves."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from osv_standin import add, add_to_submodule, delete, edit, edit_submodule, empty_tree, looks_like_osv

from harness.core.errors import BuildError
from harness.kernels.osv.build_tree import Adaptation, Tree
from harness.kernels.osv.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository that looks like OSv, with `lib` as its submodule musl."""
    return looks_like_osv(tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree."""
    return empty_tree(tmp_path)


def test_the_first_sync_keeps_times_and_takes_what_is_uncommitted(checkout: Path, tree: Tree) -> None:
    os.utime(checkout / "core.cc", (1_000_000, 1_000_000))
    add(checkout)
    edit_submodule(checkout)
    tree.sync(Checkout(checkout), Adaptation())
    assert (tree.sources / "core.cc").stat().st_mtime == 1_000_000
    assert (tree.sources / "new.cc").read_text() == "new\n"
    assert (tree.sources / "lib/musl.c").read_text() == "other\n"
    assert (tree.sources / "musl").readlink() == Path("lib")
    assert os.access(tree.sources / "scripts/build", os.X_OK)
    assert not (tree.sources / ".git").exists()


def test_syncing_twice_writes_nothing(checkout: Path, tree: Tree) -> None:
    assert tree.sync(Checkout(checkout), Adaptation(files={"a": "b"}, edits={"core.cc": str.upper})) > 0
    assert tree.sync(Checkout(checkout), Adaptation(files={"a": "b"}, edits={"core.cc": str.upper})) == 0


def test_a_file_touched_without_a_change_stays_old(checkout: Path, tree: Tree) -> None:
    tree.sync(Checkout(checkout), Adaptation())
    before = (tree.sources / "core.cc").stat().st_mtime_ns
    os.utime(checkout / "core.cc")
    assert tree.sync(Checkout(checkout), Adaptation()) == 0
    assert (tree.sources / "core.cc").stat().st_mtime_ns == before


def test_going_back_to_an_older_file_makes_it_new_for_make(checkout: Path, tree: Tree) -> None:
    tree.sync(Checkout(checkout), Adaptation())
    built = time.time() - 1
    (checkout / "core.cc").write_text("older\n")
    os.utime(checkout / "core.cc", (1_000_000, 1_000_000))
    tree.sync(Checkout(checkout), Adaptation())
    assert (tree.sources / "core.cc").stat().st_mtime > built


def test_deleted_files_go(checkout: Path, tree: Tree) -> None:
    (checkout / "deep/er").mkdir(parents=True)
    (checkout / "deep/er/file.cc").touch()
    tree.sync(Checkout(checkout), Adaptation())
    shutil.rmtree(checkout / "deep")
    delete(checkout)
    assert tree.sync(Checkout(checkout), Adaptation()) == 2
    assert not (tree.sources / "core.cc").exists()
    assert not (tree.sources / "deep").exists()


def edit_makefile(checkout: Path) -> None:
    """Other flags, which no object depends on."""
    (checkout / "conf/base.mk").write_text("CXXFLAGS += -O1\n")


@pytest.mark.parametrize(("change", "stay"), [(edit, True), (delete, False), (edit_makefile, False)])
def test_outputs_stay_where_make_knows_what_to_renew(
    checkout: Path, tree: Tree, change: Callable[[Path], object], stay: bool
) -> None:
    tree.sync(Checkout(checkout), Adaptation())
    (tree.sources / "build").mkdir()
    (tree.sources / "build/core.o").touch()
    change(checkout)
    assert tree.sync(Checkout(checkout), Adaptation()) == 1
    assert (tree.sources / "build/core.o").exists() == stay


def test_a_folder_that_the_build_patches_is_renewed_as_a_whole(checkout: Path, tree: Tree) -> None:
    patched = Adaptation(patched=("lib",))
    tree.sync(Checkout(checkout), patched)
    (tree.sources / "lib/musl.c").write_text("patched\n")
    (tree.sources / "lib/.patched").touch()
    tree.sync(Checkout(checkout), patched)
    assert (tree.sources / "lib/musl.c").read_text() == "patched\n"
    add_to_submodule(checkout)
    tree.sync(Checkout(checkout), patched)
    assert (tree.sources / "lib/musl.c").read_text() == "musl\n"
    assert not (tree.sources / "lib/.patched").exists()


def test_a_tree_whose_record_is_lost_starts_afresh(checkout: Path, tree: Tree) -> None:
    tree.sync(Checkout(checkout), Adaptation())
    (tree.sources / "stale.o").touch()
    (tree.home / "synced.json").write_text('{"half')
    tree.sync(Checkout(checkout), Adaptation())
    assert not (tree.sources / "stale.o").exists()


def test_a_killed_build_drops_its_outputs_and_a_failed_one_keeps_them(tree: Tree) -> None:
    out = tree.sources / "build"
    out.mkdir(parents=True)
    with pytest.raises(BuildError), tree.building():
        raise BuildError("a compiler error")
    with tree.building():
        assert out.exists()
    with pytest.raises(KeyboardInterrupt), tree.building():
        raise KeyboardInterrupt
    with tree.building():
        assert not out.exists()


def test_a_build_waits_for_what_a_killed_one_left_running(tree: Tree) -> None:
    tree.sources.mkdir()
    with tree.building() as lease:
        orphan = subprocess.Popen(["sleep", "0.5"], pass_fds=(lease,))
    with tree.building():
        assert orphan.poll() is not None or orphan.wait(timeout=0.2) == 0


def test_outputs_of_another_builder_are_dropped(checkout: Path, tree: Tree) -> None:
    """A compiler that was upgraded makes no object old for `make`."""
    tree.sync(Checkout(checkout), Adaptation())
    made = tree.sources / "build/release.x64/core.o"

    def build(builder: str) -> bool:
        """Whether an object was there already."""
        with tree.building():
            tree.built_by(builder)
            there = made.exists()
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
        return there

    builders = ("gcc 11", "gcc 11", "gcc 12", "gcc 12", "gcc 11")
    assert [build(name) for name in builders] == [False, True, False, True, False]
    (tree.home / "builder").unlink()
    assert not build("gcc 11"), "nobody knows who built it"
