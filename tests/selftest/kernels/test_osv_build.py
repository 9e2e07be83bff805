"""Whole builds, by a stand-in `scripts/build` of a few lines; where OSV_ROOT names a real checkout, also its."""

import fcntl
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from osv_standin import ROFS, edit, empty_tree, looks_like_osv, snapshot

from harness.core.errors import BuildError, HostError
from harness.core.events import Event, subscribed
from harness.host.cache import Cache
from harness.kernels.osv import build, patches, toolchain
from harness.kernels.osv.build import first_error, run_build
from harness.kernels.osv.build_config import BuildOptions, ImageModules
from harness.kernels.osv.checkout import Checkout
from harness.kernels.osv.kernel import Osv


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository that looks like OSv, with `lib` as its submodule musl."""
    return looks_like_osv(tmp_path)


@pytest.fixture
def no_tools_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in compiles nothing, so the host need not have a compiler."""
    monkeypatch.setattr(toolchain, "toolchain", lambda cell: {"gcc": "gcc 0"})
    monkeypatch.setattr(toolchain, "java_tools", lambda: "mvn missing")


def test_java_is_left_out_where_a_file_of_the_jdk_leads_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's does without its package of sources. OSv's build ends there, after all that it compiled."""
    programs, jdk = tmp_path / "bin", tmp_path / "jdk"
    for folder in (programs, jdk / "bin", jdk / "lib/security"):
        folder.mkdir(parents=True)
    for program in (programs / "mvn", programs / "lddtree", jdk / "bin/javac"):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (programs / "javac").symlink_to(jdk / "bin/javac")
    source, link = tmp_path / "src.zip", jdk / "lib/src.zip"
    link.symlink_to(source)
    (jdk / "lib/security/cacerts").symlink_to(tmp_path / "none")  # which OSv's module leaves out
    monkeypatch.setenv("PATH", str(programs))
    assert toolchain.java_tools().startswith(f"the JDK's {link} leads to nothing: install openjdk-17-source")
    source.touch()
    assert toolchain.java_tools() == ""


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


def test_a_host_without_lddtree_is_told_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OSv's openssl module throws that away, and blames a library that it has no need of."""
    (tmp_path / "script").write_text("echo 'Could not find any so file matching libssl.so.1.1'; exit 2\n")
    words = [["/bin/sh", "script"]]
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        run_build("osv:qemu-rofs", words, tmp_path, os.environ, tmp_path / "log", 60, 0)
    assert caught.value.hint.startswith("Install pax-utils.")
    (tmp_path / "lddtree").touch(0o755)
    with pytest.raises(BuildError, match="libssl"):
        run_build("osv:qemu-rofs", words, tmp_path, os.environ, tmp_path / "log", 60, 0)


def test_no_process_of_a_build_outlives_a_harness_that_was_killed(tmp_path: Path) -> None:
    """Compilers under make under a script, one of which has left its input and output behind."""
    deep = "sleep 600 < /dev/null > /dev/null 2>&1 & echo deep; wait"
    (tmp_path / "script").write_text(f"sleep 600 & sh -c '{deep}'\n")
    lease = tmp_path / "lease"
    harness = (
        "import fcntl, os; from pathlib import Path; from harness.kernels.osv.build import run_build; "
        f"at = Path({str(tmp_path)!r}); lease = open(at / 'lease', 'w'); fcntl.flock(lease, fcntl.LOCK_EX); "
        "run_build('x', [['sh', 'script']], at, os.environ, at / 'log', 600, lease.fileno())"
    )
    process = subprocess.Popen([sys.executable, "-c", harness])
    while not (tmp_path / "log").exists() or "deep" not in (tmp_path / "log").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    with lease.open("w") as file:  # every process of the build holds it
        fcntl.flock(file, fcntl.LOCK_EX)


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
    app = ImageModules("empty", "/hello: /bin/true\n")
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
    image = Osv(checkout, options=BuildOptions(through=(str(through), "{tree}"))).build(ROFS, cache)
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
        fresh = Osv(checkout, options=BuildOptions(fresh=True)).build(ROFS, cache)
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
    monkeypatch.setattr(build, "SILENCE", 1.0)
    monkeypatch.setattr(build, "PROGRESS_EVERY", 0.1)
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


def test_real_checkout_is_synced_whole(real: Path, tmp_path: Path) -> None:
    tree = empty_tree(tmp_path)
    tree.sync(Checkout(real), patches.adaptation(ROFS, "v1", java=True))
    for name in ("kbuild/Makefile.osv", "musl/include/stdio.h", "external/x64/acpica/source"):
        assert (tree.sources / name).exists()
    assert tree.sync(Checkout(real), patches.adaptation(ROFS, "v1", java=True)) == 0
