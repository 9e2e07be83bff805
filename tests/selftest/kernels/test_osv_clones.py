"""Other commits of a checkout: real git repositories, with a submodule, and the user's left as it is."""

import random
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import CheckoutError, HostError
from harness.host.cache import Cache
from harness.kernels.osv.checkout import LANDMARKS, Checkout
from harness.kernels.osv.clones import CommitClones


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *who, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _commit(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", text)
    return _git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two commits, each with the submodule `musl` at another of its commits."""
    musl, root = tmp_path / "musl", tmp_path / "osv"
    for folder in (musl, root):
        folder.mkdir()
        _git(folder, "init", "-q", "-b", "master")
    _commit(musl, "libc.c", "old")
    for name in LANDMARKS:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("same")
    _git(root, "submodule", "add", "-q", str(musl), "musl")
    _commit(root, "core/a.cc", "old")
    _git(root, "tag", "v0.1.0")
    _commit(musl, "libc.c", "new")
    _git(root / "musl", "pull", "-q", "origin", "master")
    _commit(root, "core/a.cc", "new")
    return root


def test_a_full_disk_is_no_commits_fault(checkout: Path, tiny_disk: Path) -> None:
    (checkout / "core/big.cc").write_bytes(random.randbytes(2 << 20))
    big = _commit(checkout, "core/b.cc", "beside what is too big")
    with pytest.raises(HostError, match="no space left"), CommitClones(checkout, Cache(tiny_disk)).at(big):
        pass


def test_a_commit_is_taken_back_in_a_clone_of_ours(checkout: Path, tmp_path: Path) -> None:
    culprit = _commit(checkout, "core/b.cc", "culprit")
    bad = _commit(checkout, "core/c.cc", "later")
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    without = revisions.reverted(culprit, bad)
    assert without == revisions.reverted(culprit, bad), "a resumed bisection must find its build again"
    with revisions.at(without) as root:
        assert not (root / "core/b.cc").exists() and (root / "core/c.cc").read_text() == "later"
        assert not Checkout(root).state().dirty
    assert without not in _git(checkout, "rev-list", "--all"), "the user's repository is only read"
    on_top = _commit(checkout, "core/b.cc", "changed again")
    with pytest.raises(CheckoutError, match="does not revert cleanly"):
        revisions.reverted(culprit, on_top)
    with revisions.at(bad) as root:
        assert not Checkout(root).state().dirty


def test_a_merge_is_taken_back_whole(checkout: Path, tmp_path: Path) -> None:
    _git(checkout, "checkout", "-q", "-b", "branch")
    _commit(checkout, "core/b.cc", "one")
    _commit(checkout, "core/c.cc", "two")
    _git(checkout, "checkout", "-q", "master")
    _git(checkout, "merge", "-q", "--no-ff", "-m", "merge", "branch")
    merge = _git(checkout, "rev-parse", "HEAD")
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    with revisions.at(revisions.reverted(merge, merge)) as root:
        assert not (root / "core/b.cc").exists() and not (root / "core/c.cc").exists()


def test_a_commit_comes_with_its_submodules_and_the_users_stays(checkout: Path, tmp_path: Path) -> None:
    before = Checkout(checkout).state()
    (checkout / "core/a.cc").write_text("uncommitted")
    dirty = Checkout(checkout).state()
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    with revisions.at(revisions.resolve("v0.1.0")) as old:
        assert (old / "core/a.cc").read_text() == "old" and (old / "musl/libc.c").read_text() == "old"
        assert not Checkout(old).state().dirty
        untouched = (old / "loader.cc").stat().st_mtime_ns
    with revisions.at(revisions.resolve("HEAD")) as new:
        assert new == old
        assert (new / "core/a.cc").read_text() == "new" and (new / "musl/libc.c").read_text() == "new"
        assert (new / "loader.cc").stat().st_mtime_ns == untouched, "what did not change is not built again"
        assert Checkout(new).state().digest == before.digest
    assert Checkout(checkout).state() == dirty


def test_a_submodules_commit_that_is_not_there_is_the_users_own_and_shows(checkout: Path, tmp_path: Path) -> None:
    _git(checkout / "musl", "checkout", "-q", "--orphan", "other")
    _commit(checkout / "musl", "libc.c", "mine")
    _git(checkout / "musl", "branch", "-D", "master")
    _git(checkout / "musl", "remote", "remove", "origin")
    _git(checkout / "musl", "reflog", "expire", "--expire=now", "--all")
    _git(checkout / "musl", "gc", "-q", "--prune=now")
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    with revisions.at(revisions.resolve("HEAD")) as home:
        assert (home / "musl/libc.c").read_text() == "mine"
        assert Checkout(home).state().changes == ("musl",)


def test_an_unknown_commit_is_told(checkout: Path, tmp_path: Path) -> None:
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    for name in ("v9", "--help", "HEAD:core"):
        with pytest.raises(CheckoutError, match="has no commit"):
            revisions.resolve(name)


def test_lanes_are_clones_of_their_own(checkout: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    one, two = CommitClones(checkout, cache), CommitClones(checkout, cache, number=1)
    with one.at(one.resolve("v0.1.0")) as old, two.at(two.resolve("HEAD")) as new:
        assert (old / "core/a.cc").read_text() == "old" and (new / "core/a.cc").read_text() == "new"


def test_a_submodule_that_has_moved_since_is_found_where_it_is(checkout: Path, tmp_path: Path) -> None:
    _git(checkout, "mv", "musl", "musl_2")
    _git(checkout, "commit", "-q", "-m", "moved")
    revisions = CommitClones(checkout, Cache(tmp_path / "cache"))
    with revisions.at(revisions.resolve("v0.1.0")) as old:
        assert (old / "musl/libc.c").read_text() == "old" and not (old / "musl_2").exists()
        assert not Checkout(old).state().dirty
