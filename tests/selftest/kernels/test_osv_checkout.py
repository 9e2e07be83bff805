"""OSv checkouts: which folders are none, and what tells one state of the sources from another."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from osv_standin import add, add_to_submodule, delete, edit, edit_submodule, git, looks_like_osv, snapshot

from harness.core.errors import CheckoutError
from harness.kernels.osv.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository that looks like OSv, with `lib` as its submodule musl."""
    return looks_like_osv(tmp_path)


def test_missing_checkout_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckoutError, match="There is no OSv checkout at") as error:
        Checkout(tmp_path / "nowhere")
    assert "OSV_ROOT" in error.value.hint


def test_a_folder_that_is_not_osv_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "loader.cc").touch()
    with pytest.raises(CheckoutError, match=r"is not an OSv checkout: it has no scripts/build"):
        Checkout(tmp_path)


def test_sources_without_git_are_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    with pytest.raises(CheckoutError, match="is not a git checkout"):
        Checkout(checkout)


def test_missing_submodules_are_named_with_the_command_that_gets_them(checkout: Path) -> None:
    git(checkout, "submodule", "deinit", "-q", "-f", "lib")
    with pytest.raises(CheckoutError, match=r"lacks its submodule\(s\) lib") as error:
        Checkout(checkout).require_submodules("lib", "not-a-submodule")
    assert "submodule update --init --recursive lib" in error.value.hint


def test_a_broken_repository_is_reported_in_gits_words(checkout: Path) -> None:
    (checkout / ".git/HEAD").write_text("nonsense")
    with pytest.raises(CheckoutError, match=r"git can't read .*: fatal: not a git repository"):
        Checkout(checkout).state()


# Source states


def test_a_clean_checkout_has_its_version_and_is_not_dirty(checkout: Path) -> None:
    state = Checkout(checkout).state()
    assert state.version.startswith("v1.0-1-g")
    assert not state.dirty
    assert state == Checkout(checkout).state()


def chmod(checkout: Path) -> str:
    (checkout / "core.cc").chmod(0o755)
    return "core.cc"


def rename(checkout: Path) -> str:
    git(checkout, "mv", "core.cc", "kernel.cc")
    return "core.cc"


def move_submodule(checkout: Path) -> str:
    (checkout / "lib/musl.c").write_text("other\n")
    git(checkout / "lib", "commit", "-q", "-a", "-m", "y")
    return "lib"


CHANGES = [edit, add, delete, chmod, rename, edit_submodule, add_to_submodule, move_submodule]


@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_change_is_named_and_gives_another_digest(
    checkout: Path, change: Callable[[Path], str]
) -> None:
    clean = Checkout(checkout).state()
    name = change(checkout)
    changed = Checkout(checkout).state()
    assert changed.digest != clean.digest
    assert name in changed.changes


def test_two_edits_of_one_file_differ(checkout: Path) -> None:
    (checkout / "core.cc").write_text("one\n")
    one = Checkout(checkout).state()
    (checkout / "core.cc").write_text("two\n")
    assert Checkout(checkout).state().digest != one.digest


def test_ignored_files_are_no_change(checkout: Path) -> None:
    clean = Checkout(checkout).state()
    (checkout / "build").mkdir()
    (checkout / "build/core.o").write_text("object")
    assert Checkout(checkout).state() == clean


def test_looking_at_a_checkout_writes_nothing(checkout: Path) -> None:
    time.sleep(0.01)
    (checkout / "core.cc").touch()  # git would like to refresh its index now
    before = snapshot(checkout)
    state = Checkout(checkout)
    state.state()
    list(state.files())
    assert snapshot(checkout) == before


def test_the_lineage_has_each_commit_with_its_parents_the_first_parent_first(checkout: Path) -> None:
    def commit(name: str) -> str:
        git(checkout, "commit", "-q", "--allow-empty", "-m", name)
        return git(checkout, "rev-parse", "HEAD").strip()

    base, start = git(checkout, "rev-parse", "HEAD").strip(), git(checkout, "branch", "--show-current").strip()
    git(checkout, "checkout", "-q", "-b", "side")
    side = commit("side")
    git(checkout, "checkout", "-q", start)
    main = commit("main")
    git(checkout, "merge", "-q", "-m", "merged", "side")
    merge = git(checkout, "rev-parse", "HEAD").strip()
    lineage = dict(Checkout(checkout).lineage())
    assert (lineage[merge], lineage[main], lineage[side]) == (f"{main} {side}", base, base)
    assert "" in lineage.values(), "the root has no parent"
