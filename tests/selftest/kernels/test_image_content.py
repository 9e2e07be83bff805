"""What of an image a program can meet: two images that differ may be the same to it, and must not be where they
are not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.errors import BuildError
from harness.core.machine import Disk, Image
from harness.host.cache import Cache, digest_of
from harness.kernels.image_content import BUILD_ID, NOTE_OWNER, ImageContent, content_of
from harness.kernels.osv import bootfs

VERSION = "v0.57.0-398-g0e34e4dc"
OTHER = "v0.57.0-399-g2958df88"
FILES = {
    "/tests/tst-a.so": b"\x7fELF a /usr/lib/libcommon.so",
    "/tests/tst-b.so": b"\x7fELF b",
    "/tests/tst-runs.so": b"\x7fELF /tests/payload.so\0",
    "/tests/payload.so": b"\x7fELF libdeep.so\0",
    "/tests/libdeep.so": b"\x7fELF deep",
    "/tests/tst-by-stem.so": b"\x7fELF payload\0",
    "/tests/tst-lists.so": b"\x7fELF opendir\0",
    "/tests/tst-raw.so": b"\x7fELF /dev/vblk0.1\0",
    "/tests/tst-java.so": b"\x7fELF /usr/lib/jvm/java\0",
    "/usr/lib/jvm/java/lib/modules": b"java's",
    "/etc/pki/java/cacerts": b"a time",
    "/usr/lib/libcommon.so": b"\x7fELF common",
    "/etc/hosts": b"127.0.0.1 localhost\n",
}


def content(folder: Path, kernel: bytes, files: Mapping[str, bytes], version: str = VERSION) -> ImageContent:
    """The content of an OSv image with these files, and a disk of the same bytes."""
    made = folder / digest_of({"kernel": kernel.hex(), "files": {k: v.hex() for k, v in files.items()}})
    for path, data in files.items():
        (file := made / "root" / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (made / "kernel").write_bytes(kernel)
    (made / "disk").write_bytes(b"".join(files.values()))
    cell = Cell("osv", "x86_64", "qemu", "virtiofs", "all")
    image = Image(
        cell, made / "kernel", "--rootfs=virtiofs", made.name + version, (Disk(made / "disk"),),
        facts={"commit": version}, share=made / "root",
    )  # fmt: skip
    return content_of(image, Cache(folder / "cache"))


def kernel_of(version: str) -> bytes:
    """A kernel that has its version as a string, and in the pieces in which a compiler loads it."""
    text = version.encode()
    return b"\x7fELF OSv " + text + b"\n\0code" + text[:16] + b"\x48\xb9" + text[-8:] + b"code"


def met(found: ImageContent) -> dict[str, str]:
    """What each test meets."""
    return {path: found.met_by(path) for path in found.tests}


def changed(before: ImageContent, after: ImageContent) -> set[str]:
    """The tests that meet something else."""
    old, new = met(before), met(after)
    assert old.keys() == new.keys()
    return {path.removeprefix("/tests/") for path in old if old[path] != new[path]}


def test_the_version_alone_changes_nothing(tmp_path: Path) -> None:
    before = content(tmp_path, kernel_of(VERSION), FILES)
    after = content(tmp_path, kernel_of(OTHER), FILES, OTHER)
    assert len(met(before)) == 9 and not changed(before, after)
    unmasked = content(tmp_path, kernel_of(OTHER), FILES, "v1.0")
    assert len(changed(before, unmasked)) == 9, "what is not known to be the version is a difference"


def test_one_byte_of_the_kernel_changes_all(tmp_path: Path) -> None:
    before = content(tmp_path, kernel_of(VERSION), FILES)
    after = content(tmp_path, kernel_of(VERSION).replace(b"code", b"c0de", 1), FILES)
    assert len(changed(before, after)) == len(before.tests)


@pytest.mark.parametrize(
    "path, of",
    [
        ("/tests/tst-a.so", {"tst-a.so", "tst-lists.so", "tst-raw.so"}),
        ("/tests/payload.so", {"payload.so", "tst-runs.so", "tst-by-stem.so", "tst-lists.so", "tst-raw.so"}),
        (
            "/tests/libdeep.so",
            {"libdeep.so", "payload.so", "tst-runs.so", "tst-by-stem.so", "tst-lists.so", "tst-raw.so"},
        ),
        ("/usr/lib/libcommon.so", {path.removeprefix("/tests/") for path in FILES if path.startswith("/tests/")}),
        ("/etc/pki/java/cacerts", {"tst-java.so", "tst-lists.so", "tst-raw.so"}),
        ("/etc/hosts", {path.removeprefix("/tests/") for path in FILES if path.startswith("/tests/")}),
    ],
)
def test_a_file_changes_what_can_meet_it(path: str, of: set[str], tmp_path: Path) -> None:
    before = content(tmp_path, b"kernel", FILES)
    after = content(tmp_path, b"kernel", {**FILES, path: FILES[path] + b" and more"})
    assert changed(before, after) == of


def test_a_build_id_changes_nothing(tmp_path: Path) -> None:
    def built(identifier: bytes) -> dict[str, bytes]:
        note = BUILD_ID + NOTE_OWNER + identifier * 20
        return {**FILES, "/tests/tst-b.so": b"\x7fELF b" + note + b"the rest"}

    before, after = (content(tmp_path, b"kernel", built(one)) for one in (b"\1", b"\2"))
    assert changed(before, after) == {"tst-raw.so"}, "only the disk's bytes differ"
    cut = {**FILES, "/tests/tst-b.so": b"\x7fELF b" + BUILD_ID + NOTE_OWNER + b"\3"}
    assert "tst-b.so" in changed(before, content(tmp_path, b"kernel", cut))


def test_a_program_of_elsewhere_and_one_known_to_read_the_disk_meet_everything(tmp_path: Path) -> None:
    before = content(tmp_path, b"kernel", FILES)
    after = content(tmp_path, b"kernel", {**FILES, "/tests/tst-b.so": b"\x7fELF another"})
    assert before.met_by("/tests/tst-a.so") == after.met_by("/tests/tst-a.so")
    assert before.met_by("/tests/tst-a.so", reads_disk=True) != after.met_by("/tests/tst-a.so", reads_disk=True)
    assert before.met_by("/usr/bin/other") != after.met_by("/usr/bin/other")


def test_another_command_line_is_another_content(tmp_path: Path) -> None:
    """So are files whose content is the same and whose place is not."""
    before = content(tmp_path, b"kernel", {"/tests/tst-a.so": b"a", "/tests/tst-b.so": b"b"})
    after = content(tmp_path, b"kernel", {"/tests/tst-a.so": b"b", "/tests/tst-b.so": b"a"})
    assert changed(before, after) == {"tst-a.so", "tst-b.so"}


def bootfs_of(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Files as OSv's scripts/mkbootfs.py packs them."""
    rows = [(path, 0, data) for path, data in files.items()]
    rows += [(path, bootfs.LINK, target.encode() + b"\0") for path, target in links.items()]
    at, entries = (len(rows) + 1) * bootfs.ENTRY.size, b""
    for path, kind, data in rows:
        entries += bootfs.ENTRY.pack(len(data), at, kind, path.encode())
        at += len(data)
    return entries + bytes(bootfs.ENTRY.size) + b"".join(data for *_, data in rows)


FOLDER = {"/tmp/": b""}
ENVIRON = {"/libenviron.so": b"\x7fELF e"}


def of_ramfs(folder: Path, files: Mapping[str, bytes], version: str) -> ImageContent:
    """The content of a kernel with these files inside, in which their first names stand elsewhere too."""
    made = folder / version
    made.mkdir()
    packed = bootfs_of({**FOLDER, **files, **ENVIRON}, {"/etc/mnttab": "/proc/mounts"})
    (made / "kernel").write_bytes(kernel_of(version) + b"\0/libenviron.so\0" + packed + b"data after it")
    cell = Cell("osv", "x86_64", "qemu", "ramfs", "all")
    image = Image(cell, made / "kernel", "--rootfs=ramfs", version, facts={"commit": version})
    return content_of(image, Cache(folder / "cache"))


def test_the_files_inside_a_kernel_are_told_apart(tmp_path: Path) -> None:
    before = of_ramfs(tmp_path, FILES, VERSION)
    again = of_ramfs(tmp_path, FILES, OTHER)
    assert len(met(before)) == 9 and not changed(before, again), "it has no disk to be read"
    same_size = bytes(reversed(FILES["/tests/tst-b.so"]))
    after = of_ramfs(tmp_path, {**FILES, "/tests/tst-b.so": same_size}, "v0.57.0-400-g12345678")
    assert changed(before, after) == {"tst-b.so", "tst-lists.so", "tst-raw.so"}


def test_a_kernels_files_are_written_and_cut_out(tmp_path: Path) -> None:
    packed = bootfs_of({**FOLDER, **FILES, **ENVIRON}, {"/etc/mnttab": "/proc/mounts"})
    assert bootfs.unpack(b"before\0/libenviron.so\0" + packed + b"after", tmp_path / "out") == (
        b"before\0/libenviron.so\0after"
    )
    for path, data in FILES.items():
        assert (tmp_path / "out" / path.lstrip("/")).read_bytes() == data
    assert (tmp_path / "out/tmp").is_dir() and str((tmp_path / "out/etc/mnttab").readlink()) == "/proc/mounts"
    with pytest.raises(BuildError, match="no bootfs"):
        bootfs.unpack(b"a kernel with /libenviron.so\0 alone", tmp_path / "none")
    with pytest.raises(BuildError, match="file named"):
        bootfs.unpack(bootfs_of({"/../../x": b"x", **ENVIRON}, {}), tmp_path / "outside")
