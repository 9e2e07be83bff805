"""Builders: roots that are entered by namespaces, what of them decides a kernel, and a builder by one more row."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import builder_standin
import pytest
from osv_standin import ROFS, looks_like_osv, snapshot

from harness.analysis.bisect.run import BisectRequest
from harness.cli.command_line import parse
from harness.cli.commands import bisect
from harness.core import facts, project
from harness.core.builders import builder_of, builders
from harness.core.errors import CellError, HarnessError, HostError
from harness.core.events import Event, subscribed
from harness.core.matrix import Matrix
from harness.host import netns, private_root
from harness.host.cache import Cache
from harness.host.private_root import in_root
from harness.kernels.osv import build_config, builder_root, toolchain
from harness.kernels.osv.build_config import ImageModules
from harness.kernels.osv.kernel import Osv
from harness.runner.session import Session

ARCH = platform.machine()
MINE = replace(ROFS, options=("builder=mine",))


@pytest.fixture(autouse=True)
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one more builder; its file."""
    (folder := tmp_path / "project").mkdir()
    monkeypatch.setenv(project.VARIABLE, str(folder))
    (file := folder / "builders.toml").write_text(builder_standin.ROW)
    return file


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a shell."""
    folder = tmp_path_factory.mktemp("small")
    builder_standin.small_root(folder / "root")
    (folder / "root/mnt").mkdir()
    return folder / "root"


@pytest.fixture
def namespaces() -> None:
    """Skips where neither root nor a user may have namespaces."""
    if subprocess.run(["unshare", *netns.userns_flags(), "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this host forbids namespaces")


def run(command: Sequence[str], root: Path, folder: Path, *writable: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    line = in_root(command, root, folder, writable)
    return subprocess.run(line, env=environment, capture_output=True, text=True)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("as_user", [False, True], ids=["root or user", "user namespace"])
def test_a_command_sees_its_root_and_writes_only_where_it_may(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_user: bool
) -> None:
    if as_user:
        monkeypatch.setattr(private_root, "userns_flags", lambda: ["--user", "--map-root-user"])
        if subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True).returncode:
            pytest.skip("this host forbids user namespaces")
    (mine := tmp_path / "may").mkdir()
    (tmp_path / "secret").touch()
    before = snapshot(small)
    name = f"osv-harness-{tmp_path.name}-{os.getpid()}"
    words = f"cat /etc/os-release; ls {tmp_path}; echo kept > here; touch /tmp/{name} /usr/bin/x /etc/x"
    done = run(["sh", "-c", words], small, mine, mine)
    assert done.stdout.splitlines() == ["NAME=mine", "may"], done
    assert done.stderr.count("Read-only file system") == 2, done
    assert (mine / "here").read_text() == "kept\n"
    assert snapshot(small) == before and not Path("/tmp", name).exists()
    assert str(small) not in Path("/proc/self/mounts").read_text()


@pytest.mark.usefixtures("namespaces")
def test_one_row_is_one_more_builder_and_its_compiler_is_part_of_all_that_it_builds(tmp_path: Path) -> None:
    matrix = Matrix.load()
    cell = matrix.cell("qemu-rofs+builder=mine", "osv")
    assert cell == MINE and cell in matrix.set("builders", "osv")
    cache, checkout = Cache(tmp_path / "cache"), looks_like_osv(tmp_path)
    builder = builder_standin.make(cache, ARCH)
    before = snapshot(checkout)
    image = Osv(checkout).build(cell, cache)
    assert image.facts["builder"] == "mine" and image.facts["left out"].endswith("the builder mine has no Java")
    told = facts.parse_facts(Osv(checkout).origin(image).builder)
    has = builder_root.toolbox(builder, ARCH, cache)
    assert told == {"compiler": "g++ 99.1", "linker": "ld.bfd 9.9", "boost": "9_99", "packages": has.packages}
    assert snapshot(checkout) == before
    trees = [path.name for path in (cache.root / "trees").iterdir()]
    assert len(trees) == 1 and trees[0].endswith("-all-builder-mine")
    events: list[Event] = []
    with subscribed(events.append):
        assert Osv(checkout).build(cell, cache) == image
    assert not events


@pytest.mark.usefixtures("namespaces")
def test_another_compiler_in_a_root_is_another_kernel(tmp_path: Path) -> None:
    checkout = looks_like_osv(tmp_path)
    digests = set()
    for gcc in ("gcc 99.1", "gcc 99.2"):
        cache = Cache(tmp_path / gcc)
        builder_standin.make(cache, ARCH, gcc)
        digests.add(Osv(checkout).build(MINE, cache).digest)
    assert len(digests) == 2


@pytest.mark.usefixtures("namespaces")
def test_a_row_may_name_the_gcc_that_compiles_and_is_never_another_one(row: Path, tmp_path: Path) -> None:
    row.write_text(f'{builder_standin.ROW}gcc = "98"\n')
    builder = builders()["mine"]
    assert builder.installed == ("base-files", "gcc-98", "g++-98")
    assert builder_root.parts(builder, ARCH) != builder_root.parts(replace(builder, gcc=""), ARCH)
    builder_standin.small_root(place := tmp_path / builder_root.ROOT)
    for name in ("g++", "gcc"):
        with pytest.raises(HostError, match=rf"mine has no {re.escape(name)}-98"):
            builder_root.finish(builder, tmp_path, {})
        (tool := place / f"usr/bin/{name}-98").write_text(f"#!/bin/sh\necho '{name} 98.7'\n")
        tool.chmod(0o755)
    builder_root.finish(builder, tmp_path, {})
    told = json.loads((tmp_path / builder_root.TOLD).read_text())["tools"]
    assert told == {"gcc": "gcc 98.7", "g++": "g++ 98.7", "ld.bfd": "ld.bfd 9.9"}


@pytest.mark.usefixtures("namespaces")
def test_a_build_in_a_root_has_nothing_of_this_hosts_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's fault stays the kernel's: its error line is told, as when this host builds."""
    monkeypatch.setenv("CXXFLAGS", "-Dof-this-host")
    monkeypatch.setenv("OF_THIS_HOST", "yes")
    cache, checkout = Cache(tmp_path / "cache"), looks_like_osv(tmp_path)
    builder_standin.make(cache, ARCH)
    (checkout / "scripts/build").write_text(
        f'#!/bin/sh\n[ ! -e {checkout} ] && echo "x.cc:1:1: error: [$OF_THIS_HOST$CXXFLAGS]"\nexit 1\n'
    )
    with pytest.raises(HarnessError, match=r"x\.cc:1:1: error: \[\]"):
        Osv(checkout).build(MINE, cache)


@pytest.mark.usefixtures("namespaces")
def test_files_that_are_added_to_an_image_are_shown_to_its_build_and_can_not_be_changed(tmp_path: Path) -> None:
    cache, checkout = Cache(tmp_path / "cache"), looks_like_osv(tmp_path)
    builder_standin.make(cache, ARCH)
    (mine := tmp_path / "of mine/sub").mkdir(parents=True)
    (mine / "hello").write_text("hello of mine\n")
    text = (checkout / "scripts/build").read_text()
    added = f"cat '{mine}/hello' >> $out/usr.manifest; ! touch '{mine}/x' || exit 1\n"
    (checkout / "scripts/build").write_text(text.replace('echo "/tests/', f'{added}echo "/tests/'))
    contents = ImageModules("empty", f"/hello: {mine}/hello\n/all/**: {mine.parent}/**\n/sh: /bin/sh\n")
    image = Osv(checkout).build_modules(MINE, cache, contents)
    assert image.manifest and image.manifest.read_text().endswith("hello of mine\n")
    assert builder_root.folders_of(contents.append_manifest) == [mine.parent]


def test_libraries_of_a_root_are_found_by_their_paths_on_this_host(tmp_path: Path) -> None:
    (library := tmp_path / "usr/lib/libboost.so").parent.mkdir(parents=True)
    library.touch()
    place = builder_root.Workplace(builders()["mine"], tmp_path, builder_root.Toolbox({}, "", "", ""))
    listed = "[manifest]\n/a: ./a\n/b.so: /usr/lib/libboost.so\n/c: /gone\n/z/**: /usr/lib/**\n/l: ->/proc\n"
    found = place.on_host(listed)
    assert found == listed.replace("/usr/lib/", f"{tmp_path}/usr/lib/")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[builder.x]\nwhat = "x"\n', "either a suite"),
        ('[builder.x]\nwhat = "x"\nsuite = "s"\n', "either a suite"),
        ('[builder.x]\nwhat = "x"\nsuite = "s"\narchives = ["a s"]\ncontainer = "c"\n', "either a suite"),
        ('[builder."a-b"]\nwhat = "x"\ncontainer = "c"\n', "letters, digits"),
        ('[builder.x]\nwhat = "x"\ncontainer = "c"\ncolour = "red"\n', "colour"),
        ('[builder.x]\ncontainer = "c"\n', "what"),
    ],
)
def test_a_row_that_is_none_is_told_by_name_and_file(row: Path, text: str, reason: str) -> None:
    row.write_text(text)
    with pytest.raises(HarnessError, match=reason) as caught:
        builders()
    assert str(row) in str(caught.value)


def test_an_unknown_builder_and_what_no_builder_can_build_are_refused() -> None:
    with pytest.raises(CellError, match=r"mien.*\n.*mine"):
        builder_of(replace(ROFS, options=("builder=mien",)))
    with pytest.raises(CellError, match="no QEMU for ZFS"):
        build_config.check(replace(ROFS, options=("builder=mine", "zfs_disk")))
    other = "x86_64" if ARCH == "aarch64" else "aarch64"
    with pytest.raises(HostError, match=r"compiles for its host's arch|cross-built"):
        build_config.check(replace(MINE, arch=other))


def test_a_root_that_cannot_be_had_is_the_hosts_fault_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="mmdebstrap is missing"):
        toolchain.taken_from(MINE, Cache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("builder/*"))


@pytest.mark.usefixtures("namespaces")
def test_namespaces_that_are_forbidden_are_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a root is made and where it is entered later: inside a user namespace that may have no others."""
    cache, checkout = Cache(tmp_path / "cache"), looks_like_osv(tmp_path)
    builder_standin.make(cache, ARCH)
    forbid = 'echo 0 > /proc/sys/user/max_mnt_namespaces; exec "$@"'
    before = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    monkeypatch.setattr(builder_root, "in_root", lambda *given: [*before, *in_root(*given)])
    with pytest.raises(HostError, match="can't be entered: unshare: unshare failed") as caught:
        Osv(checkout).build(MINE, cache)
    assert "unprivileged_userns_clone" in caught.value.hint
    with pytest.raises(HostError, match="can't be entered: unshare: unshare failed"):
        builder_standin.make(Cache(tmp_path / "other"), ARCH)


def test_a_server_that_is_silent_is_told_and_is_no_fault_of_a_kernel(tmp_path: Path) -> None:
    """By the real mmdebstrap."""
    builder = replace(builders()["mine"], mirror="http://127.0.0.1:9", mirror_in="OSV_HARNESS_NO_SUCH_MIRROR")
    if not all(map(os.path.exists, ("/usr/bin/mmdebstrap", builder.keyring))):
        pytest.skip("mmdebstrap and Debian's keyring are lacking")
    with pytest.raises(HostError, match="The builder mine can't be made") as caught:
        builder_root.toolbox(builder, ARCH, Cache(tmp_path / "cache"))
    assert "Nothing answers" in caught.value.hint


def test_a_bisection_builds_with_a_builder_as_a_cell_that_names_it(tmp_path: Path) -> None:
    checkout = looks_like_osv(tmp_path)

    def asked(*words: str) -> BisectRequest:
        usual = ("--metric", "boot.instructions", "--good", "HEAD~1", "--osv-root", str(checkout))
        arguments = parse(["bisect", *usual, *words]).arguments
        assert isinstance(arguments, bisect.Arguments)
        return bisect.request_of(Session(checkout), arguments)

    named = asked("--cell", "qemu-ramfs+builder=mine")
    built = asked("--cell", "qemu-ramfs", "--build-with", "mine")
    assert built.cell == named.cell and built.cell.options == ("builder=mine",) and not built.through
    assert asked("--cell", "qemu-ramfs+builder=mine", "--build-with", "mine").cell == named.cell
    through = asked("--build-with", "podman run {tree}")
    assert through.through == ("podman", "run", "{tree}") and not through.cell.options
    for words in (["--build-with", "debian12"], ["--build-with", "./enter"]):
        with pytest.raises(HarnessError, match=r"one builder|second"):
            asked("--cell", "qemu-ramfs+builder=mine", *words)
    with pytest.raises(HarnessError, match="no words after it"):
        asked("--build-with", "mine --verbose")
