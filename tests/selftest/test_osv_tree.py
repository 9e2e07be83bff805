"""The osv kernel: checkouts that are none, source states, build trees, and builds by a stand-in `scripts/build`.

The stand-in is a git repository with OSv's landmarks and a build script of a few lines. Where OSV_ROOT
names a real checkout, the last tests build it.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cache import Cache
from harness.cell import Cell
from harness.errors import BuildError, CellError, CheckoutError, HostError
from harness.events import Event, subscribed
from harness.kernels import osv_build, osv_host, osv_qemu, osv_recipe
from harness.kernels.osv import Osv
from harness.kernels.osv_build import first_error
from harness.kernels.osv_checkout import Checkout
from harness.kernels.osv_recipe import Building, Modules
from harness.kernels.osv_tree import Adaptation, Tree

ROFS = Cell("osv", platform.machine(), "qemu", "rofs", "all")

BUILD = """#!/bin/bash
set -e
for word; do case $word in *=*) export "${word%%=*}=${word#*=}" ;; esac; done
echo "  CXX core.cc"
! grep -n BROKEN core.cc || { echo "core.cc:1:1: error: expected a kernel"; exit 1; }
out=build/$mode.$arch
mkdir -p $out
ln -nsf $mode.$arch build/last
echo "$* $(scripts/osv-version.sh) $(cat core.cc lib/musl.c)" > $out/loader.elf
cp $out/loader.elf $out/loader-stripped.elf
cp $out/loader.elf $out/loader.img
echo -n "--rootfs=$fs " > $out/cmdline
touch $out/libenviron.so
echo "disk of $fs" > $out/usr.img
cp $out/usr.img $out/disk.img
cp $out/append.manifest $out/usr.manifest 2>/dev/null || echo "[manifest]" > $out/usr.manifest
echo "/tests/tst-hello.so: ./tests/tst-hello.so" > modules/tests/usr.manifest
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, in `folder`."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    done = subprocess.run([*command, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> Path:
    """A git repository with these files, tagged v1.0."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    git(folder, "tag", "v1.0")
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository that looks like OSv, with `lib` as its submodule musl."""
    musl = commit(tmp_path / "musl", {"musl.c": "musl\n"})
    osv = tmp_path / "osv"
    commit(
        osv,
        {
            "loader.cc": "",
            "core.cc": "core\n",
            "conf/base.mk": "conf_hide_symbols=0\nconf_lazy_stack=0\nconf_lazy_stack_invariant=0\n",
            "scripts/build": BUILD,
            "scripts/module.py": "",
            "Makefile": "build/%:\n\t@true\n",
            "conf/Makefile": "config:\n",
            "scripts/osv-version.sh": "#!/bin/sh\nexit 1\n",
            "scripts/generate_version_script.sh": "MACHINE=$(uname -m)\n",
            "modules/java-tests/Makefile": "all:\n",
            "modules/java-tests/module.py": "require maven\n",
            "modules/tests/Makefile": "",
            ".gitignore": "build/\n*.o\n",
        },
    )
    git(osv, "submodule", "--quiet", "add", str(musl), "lib")
    (osv / "musl").symlink_to("lib")
    git(osv, "add", "-A")
    git(osv, "commit", "-q", "-m", "submodule")
    return osv


@pytest.fixture
def no_tools_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in compiles nothing, so the host need not have a compiler."""
    monkeypatch.setattr(osv_host, "toolchain", lambda cell: {"gcc": "gcc 0"})
    monkeypatch.setattr(osv_host, "java_tools", lambda: "mvn missing")


def snapshot(folder: Path) -> dict[str, tuple[float, int]]:
    """Time and size of everything below a folder."""
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")}


# Checkouts that are none


def test_missing_checkout_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckoutError, match="There is no OSv checkout at") as error:
        Checkout(tmp_path / "nowhere")
    assert "OSV_ROOT" in error.value.cure


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
    assert "submodule update --init --recursive lib" in error.value.cure


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


def edit(checkout: Path) -> str:
    (checkout / "core.cc").write_text("other\n")
    return "core.cc"


def add(checkout: Path) -> str:
    (checkout / "new.cc").write_text("new\n")
    return "new.cc"


def delete(checkout: Path) -> str:
    (checkout / "core.cc").unlink()
    return "core.cc"


def chmod(checkout: Path) -> str:
    (checkout / "core.cc").chmod(0o755)
    return "core.cc"


def rename(checkout: Path) -> str:
    git(checkout, "mv", "core.cc", "kernel.cc")
    return "core.cc"


def edit_submodule(checkout: Path) -> str:
    (checkout / "lib/musl.c").write_text("other\n")
    return "lib/musl.c"


def add_to_submodule(checkout: Path) -> str:
    (checkout / "lib/new.c").write_text("new\n")
    return "lib/new.c"


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


# Trees


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty tree."""
    (tmp_path / "tree").mkdir()
    return Tree(tmp_path / "tree")


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


# What is asked of scripts/build


def test_options_become_variables_on_the_command_line_and_in_base_mk(checkout: Path, tree: Tree) -> None:
    cell = Cell("osv", "x86_64", "qemu", "zfs", "microvm", ("lazy_stack", "debug"))
    [words] = osv_recipe.commands(cell, osv_recipe.tests_of(cell), 4)
    assert words[:5] == ["scripts/build", "-j4", "arch=x64", "mode=debug", "conf_drivers_profile=microvm"]
    assert words[5:] == ["conf_lazy_stack=1", "conf_lazy_stack_invariant=1", "fs=zfs", "image=tests"]
    tree.sync(Checkout(checkout), osv_recipe.adaptation(cell, "v1", java=False))
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
    config, make, build = osv_recipe.commands(cell, Modules("empty"), 2)
    assert config[:3] == ["make", "-f", "conf/Makefile"] and make[-1].endswith(made)
    assert image in build and ("--create-zfs-disk" in build) == bool(options)


def test_zfs_is_made_by_the_hosts_tools_where_the_cell_says_so() -> None:
    [build] = osv_recipe.commands(Cell("osv", "x86_64", "qemu", "zfs", "all", ("host_zfs",)), Modules("empty"), 2)
    assert "--use-openzfs" in build and not any(word.startswith("conf_zfs") for word in build)


def test_app_symbols_builds_twice_and_the_second_time_with_the_symbols_of_the_first() -> None:
    cell = Cell("osv", "x86_64", "qemu", "rofs", "all", ("app_symbols",))
    first, generate, second = osv_recipe.commands(cell, Modules(), 2)
    assert "conf_hide_symbols=1" in first and generate[0] == "scripts/generate_app_version_script.sh"
    assert second == [*first, "conf_version_script=build/last/app_version_script"]


def test_java_tests_left_out_are_an_empty_module(checkout: Path, tree: Tree) -> None:
    tree.sync(Checkout(checkout), osv_recipe.adaptation(ROFS, "v1", java=False))
    assert [path.name for path in (tree.sources / "modules/java-tests").iterdir()] == ["module.py"]
    tree.sync(Checkout(checkout), osv_recipe.adaptation(ROFS, "v1", java=True))
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
        osv_recipe.check(unbuildable)


def test_fs_and_programs_share_a_tree_and_kernels_do_not() -> None:
    def name(fs: str, profile: str = "all", *options: str) -> str:
        return osv_recipe.tree_name(Cell("osv", "x86_64", "qemu", fs, profile, options))

    assert name("rofs") == name("zfs") == name("rofs", "all", "linux_ld") == name("rofs", "all", "zfs_disk")
    kernels = [name("rofs"), name("rofs", "base"), name("rofs", "all", "debug"), name("rofs", "all", "openzfs")]
    assert len(set(kernels)) == 4


def test_the_first_compiler_error_is_found_among_make_noise() -> None:
    log = [
        "  CXX core/mmu.cc",
        "core/mmu.cc: In function 'void f()':",
        "core/mmu.cc:12:3: error: 'x' was not declared in this scope",
        "core/mmu.cc:13:3: error: another",
        "make: *** [Makefile:451: build/release.x64/core/mmu.o] Error 1",
    ]
    assert first_error(log).startswith("core/mmu.cc:12:3: error: 'x'")
    log = ["  LINK loader.elf", "ld.bfd: mmu.o: undefined reference to `f'", "make: *** [x] Error 1"]
    assert first_error(log) == "ld.bfd: mmu.o: undefined reference to `f'"
    assert first_error([]) == "it said nothing"


def test_the_qemu_stand_in_undoes_kvm_the_gdb_port_and_early_forwards() -> None:
    backend = "user,id=un0,net=192.168.122.0/24,hostfwd=tcp:127.0.0.1:5-:10000"
    words = ["-m", "512", "-gdb", "tcp::1234", "-netdev", backend, "-enable-kvm", "-cpu", "host,+x2apic"]
    kept, forwards = osv_qemu.translate("tcg", words)
    assert kept == ["-m", "512", "-netdev", "user,id=un0,net=192.168.122.0/24", "-accel", "tcg"]
    assert forwards == [("un0", "tcp:127.0.0.1:5-:10000")]
    assert osv_qemu.translate("kvm", ["-cpu", "cortex-a57"])[0][:2] == ["-cpu", "cortex-a57"]
    assert osv_qemu.translate("kvm", ["-cpu", "host"])[0] == ["-accel", "kvm", "-cpu", "host"]


QEMU = """#!{python}
import socket, sys
words = " ".join(sys.argv)
path = words.partition("path=")[2].partition(",")[0]
monitor = socket.socket(socket.AF_UNIX)
monitor.bind(path)
monitor.listen()
print("Waiting for connection from host...", flush=True)
told, _ = monitor.accept()
told.sendall(b"QEMU monitor\\n(qemu) ")
print("told", told.recv(100), flush=True)
told.sendall(b"(qemu) ")
sys.exit(3)
"""


def test_the_qemu_stand_in_forwards_once_the_guest_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / f"qemu-system-{ROFS.arch}"
    qemu.write_text(QEMU.format(python=sys.executable))
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tree = Tree(tmp_path)
    tree.wrap(osv_host.wrappers(ROFS, "tcg"))
    command = [str(tree.bin / "qemu"), "-netdev", "user,id=un0,hostfwd=tcp:127.0.0.1:5-:10000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[1] == r"told b'hostfwd_add un0 tcp:127.0.0.1:5-:10000\n'"
    assert done.returncode == 3


# Whole builds, by the stand-in


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_leaves_an_image_and_never_touches_the_checkout(checkout: Path, tmp_path: Path) -> None:
    before = snapshot(checkout)
    image = Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))
    assert image.cmdline == "--rootfs=rofs"
    assert [disk.path.read_text() for disk in image.disks] == ["disk of rofs\n"]
    assert image.manifest is not None and "/tests/tst-hello.so" in image.manifest.read_text()
    assert image.facts["commit"].startswith("v1.0-1-g") and image.facts["commit"] in image.kernel.read_text()
    assert image.facts["left out"] == "Java tests: mvn missing"
    assert image.facts["dirty"] == "no"
    assert snapshot(checkout) == before


def test_app_symbols_are_stripped_of_blanks_before_they_are_sorted() -> None:
    cell = Cell("osv", "x86_64", "qemu", "rofs", "all", ("app_symbols",))
    edit = osv_recipe.adaptation(cell, "v1", java=True).edits["scripts/generate_app_version_script.sh"]
    wanted = 'cut | tr -d " " | LC_COLLATE=C sort | uniq | comm'
    assert edit('cut | LC_COLLATE=C sort | uniq | tr -d " " | comm') == wanted
    assert edit(wanted) == wanted


@pytest.mark.usefixtures("no_tools_needed")
def test_an_unchanged_checkout_is_not_built_again_and_a_changed_one_is(checkout: Path, tmp_path: Path) -> None:
    cache, events = Cache(tmp_path / "cache"), list[Event]()
    with subscribed(events.append):
        first = Osv(checkout).build(ROFS, cache)
        again = Osv(checkout).build(ROFS, cache)
        edit(checkout)
        changed = Osv(checkout).build(ROFS, cache)
    assert again == first
    assert changed.digest != first.digest and "other" in changed.kernel.read_text()
    assert changed.facts["dirty"] == "core.cc"
    assert [event.kind for event in events].count("build.started") == 2


@pytest.mark.usefixtures("no_tools_needed")
def test_ramfs_has_no_disk_and_other_contents_have_their_own_manifest(checkout: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert Osv(checkout).build(replace(ROFS, fs="ramfs"), cache).disks == ()
    app = Modules("empty", "/hello: /bin/true\n")
    image = Osv(checkout).build_modules(ROFS, cache, app)
    assert image.manifest is not None and image.manifest.read_text() == "/hello: /bin/true\n"
    assert "image=empty" in image.kernel.read_text()


@pytest.mark.usefixtures("no_tools_needed")
def test_a_failed_build_shows_the_compiler_error_and_keeps_the_log(checkout: Path, tmp_path: Path) -> None:
    (checkout / "core.cc").write_text("BROKEN\n")
    with pytest.raises(BuildError, match=r"core\.cc:1:1: error: expected a kernel") as error:
        Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))
    assert error.value.log is not None and "CXX core.cc" in Path(error.value.log).read_text()
    edit(checkout)
    Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_that_fails_with_status_0_is_failed(checkout: Path, tmp_path: Path) -> None:
    script = "#!/bin/sh\necho 'fatal: unable to access'\necho 'scripts/build failed: module.py' >&2\n"
    (checkout / "scripts/build").write_text(script)
    with pytest.raises(BuildError, match="failed: fatal: unable to access"):
        Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))


@pytest.mark.usefixtures("no_tools_needed")
def test_a_full_disk_is_the_hosts_fault(checkout: Path, tmp_path: Path) -> None:
    (checkout / "scripts/build").write_text("#!/bin/bash\necho much > /dev/full\n")
    with pytest.raises(HostError, match="No space left on device"):
        Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_goes_through_a_command_of_the_users(checkout: Path, tmp_path: Path) -> None:
    """Which is given each command of the build, and runs in the build tree; its kernel is another's."""
    through = tmp_path / "through"
    through.write_text(f'#!/bin/sh\necho "$1: $2" >> {tmp_path}/entered\nshift\nexec "$@"\n')
    through.chmod(0o755)
    cache = Cache(tmp_path / "cache")
    usual = Osv(checkout).build(ROFS, cache)
    image = Osv(checkout, building=Building(through=(str(through), "{tree}"))).build(ROFS, cache)
    assert image.digest != usual.digest
    entered = (tmp_path / "entered").read_text().splitlines()
    assert [line.split(": ")[1] for line in entered] == ["scripts/build"]
    assert (Path(entered[0].split(":")[0]) / "loader.cc").exists()


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_from_scratch_starts_with_nothing_and_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    Osv(checkout).build(ROFS, cache)
    told: list[Event] = []
    with subscribed(told.append):
        fresh = Osv(checkout, building=Building(fresh=True)).build(ROFS, cache)
    tree = next(Path(one.detail.rsplit(" in ", 1)[1]) for one in told if one.kind == "build.started")
    assert tree.parent.name.endswith("-fresh") and not tree.exists()
    assert fresh.kernel.read_bytes() == Osv(checkout).build(ROFS, cache).kernel.read_bytes()


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_that_hangs_is_ended_with_all_that_it_started(checkout: Path, tmp_path: Path) -> None:
    (checkout / "scripts/build").write_text("#!/bin/sh\nsleep 1000 &\necho $! > child\nwait\n")
    with pytest.raises(BuildError, match="took too long"):
        Osv(checkout, timeout=1).build(ROFS, Cache(tmp_path / "cache"))
    child = next((tmp_path / "cache").rglob("child")).read_text().strip()
    time.sleep(0.1)
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "Z (zombie)" in status.read_text()


@pytest.mark.usefixtures("no_tools_needed")
def test_a_build_that_falls_silent_is_ended(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osv_build, "SILENCE", 1.0)
    monkeypatch.setattr(osv_build, "PROGRESS_EVERY", 0.1)
    (checkout / "scripts/build").write_text("#!/bin/sh\necho 'ConnectionError: reset'\nsleep 1000\n")
    with pytest.raises(BuildError, match="said nothing for 1 s: ConnectionError: reset"):
        Osv(checkout).build(ROFS, Cache(tmp_path / "cache"))


# A real checkout


@pytest.fixture(scope="session")
def real() -> Path:
    """The OSv checkout that OSV_ROOT names."""
    if not os.environ.get("OSV_ROOT"):
        pytest.skip("OSV_ROOT names no OSv checkout")
    return Path(os.environ["OSV_ROOT"])


def test_real_checkout_builds_and_is_not_built_again(real: Path) -> None:
    image = Osv(real).build(ROFS, Cache())
    assert image.cmdline.startswith("--rootfs=rofs")
    assert image.manifest is not None and "/tests/tst-hello.so" in image.manifest.read_text()
    events: list[Event] = []
    with subscribed(events.append):
        assert Osv(real).build(ROFS, Cache()) == image
    assert not [event for event in events if event.kind.startswith("build.")]


def test_real_checkout_is_synced_whole(real: Path, tree: Tree) -> None:
    tree.sync(Checkout(real), osv_recipe.adaptation(ROFS, "v1", java=True))
    for name in ("kbuild/Makefile.osv", "musl/include/stdio.h", "external/x64/acpica/source"):
        assert (tree.sources / name).exists()
    assert tree.sync(Checkout(real), osv_recipe.adaptation(ROFS, "v1", java=True)) == 0
