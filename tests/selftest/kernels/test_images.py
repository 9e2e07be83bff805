"""The images' own tests: what is composed is what was named, and what was not named is not there."""

import shutil
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.errors import BuildError
from harness.host.cache import Cache, digest_of
from harness.host.debian_packages import source_parts
from harness.kernels.linux.kernel import Linux
from harness.kernels.linux.modules import boot_modules, depends
from harness.kernels.linux.tsc import clock_parameter
from harness.kernels.linux.vmlinux import lz4_block, unpack_vmlinux
from harness.kernels.osv.app_image import source_parts as osv_parts
from harness.kernels.rootfs.contents import Contents
from harness.kernels.rootfs.elf_dependencies import elf_dependencies, files_under, read_elf, resolve
from harness.kernels.rootfs.filesystems import (
    TIME,
    File,
    Files,
    Folder,
    Link,
    digest,
    write_ext4,
    write_initramfs,
    write_squashfs,
)

FILES: Files = {
    "/init": File(b"#!/bin/sh\necho hello\n", 0o755),
    "/etc/a name": File(b"odd"),
    "/bin/sh": Link("busybox"),
    "/tmp": Folder(0o1777),
    "/locked/secret": File(b"x" * 5000, 0o400),
    "/locked": Folder(0o555),
}


def needs(program: str) -> pytest.MarkDecorator:
    """Skip where the program is missing."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    return pytest.mark.skipif(found is None, reason=f"{program} is missing")


def out_of(*command: str | Path) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin"})
    return done.stdout


def write_small_ext4(files: Files, out: Path) -> None:
    write_ext4(files, out, free=1 << 20)


@needs("cpio")
def test_initramfs_is_read_by_cpio(tmp_path: Path) -> None:
    """cpio lists and unpacks every file with its mode, content and root as its owner."""
    archive = tmp_path / "initrd"
    write_initramfs(FILES, archive)
    with archive.open("rb") as content:
        rows = subprocess.run(["cpio", "-tvn"], stdin=content, check=True, capture_output=True, text=True).stdout
    listed = {row.split(maxsplit=8)[8]: row.split(maxsplit=8)[:8] for row in rows.splitlines()}
    assert " ".join(listed) == "bin bin/sh -> busybox etc etc/a name init locked locked/secret tmp"
    assert listed["init"][0] == "-rwxr-xr-x"
    assert listed["tmp"][0] == "drwxrwxrwt"
    assert {(user, group) for _, _, user, group, *_ in listed.values()} == {("0", "0")}
    with archive.open("rb") as content:
        subprocess.run(["cpio", "-i", "--quiet"], stdin=content, check=True, cwd=tmp_path)
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\necho hello\n"
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")


@needs("unsquashfs")
@needs("mksquashfs")
def test_squashfs_has_the_files(tmp_path: Path) -> None:
    write_squashfs(FILES, tmp_path / "disk")
    rows = out_of("unsquashfs", "-lln", tmp_path / "disk").splitlines()
    assert any(row.startswith("-r--------") and row.endswith("/locked/secret") for row in rows)
    assert {row.split()[1] for row in rows if row[:1] in "-dl"} == {"0/0"}
    assert out_of("unsquashfs", "-cat", tmp_path / "disk", "etc/a name") == "odd"


@needs("mke2fs")
def test_ext4_has_the_files_and_room(tmp_path: Path) -> None:
    """The image is sound, is all root's, and has the room that was asked for."""
    write_ext4(FILES, tmp_path / "disk", free=8 << 20)
    out_of("e2fsck", "-fn", tmp_path / "disk")
    assert out_of("debugfs", "-R", 'cat "/etc/a name"', tmp_path / "disk") == "odd"
    secret = out_of("debugfs", "-R", "stat /locked/secret", tmp_path / "disk")
    assert "User:     0   Group:     0" in secret
    assert secret.count(f"time: {TIME:#x}:00000000") == 4
    header = out_of("dumpe2fs", "-h", tmp_path / "disk").splitlines()
    (free,) = (int(row.split(":")[1]) for row in header if row.startswith("Free blocks:"))
    assert free * 4096 >= 8 << 20


@needs("mksquashfs")
@needs("mke2fs")
@pytest.mark.parametrize("write", [write_initramfs, write_squashfs, write_small_ext4])
def test_images_are_reproducible(tmp_path: Path, write: Callable[[Files, Path], None]) -> None:
    """The same files in another order and from another place give the same bytes; another byte does not."""
    source = tmp_path / "init"
    source.write_bytes(b"#!/bin/sh\necho hello\n")
    write(FILES, tmp_path / "first")
    write(dict(reversed([*FILES.items(), ("/init", File(source, 0o755))])), tmp_path / "second")
    write({**FILES, "/init": File(b"#!/bin/sh\necho hallo\n", 0o755)}, tmp_path / "other")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert (tmp_path / "first").read_bytes() != (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"/init": File(b"#!/bin/sh\necho hallo\n", 0o755)},
        {"/init": File(b"#!/bin/sh\necho hello\n", 0o700)},
        {"/bin/sh": Link("dash")},
        {"/tmp": Folder(0o755)},
        {"/etc/more": File(b"")},
    ],
    ids=["content", "mode", "target", "folder", "name"],
)
def test_digest_changes_with_every_input(change: Files) -> None:
    assert digest(FILES) == digest(dict(reversed(list(FILES.items()))))
    assert digest({**FILES, **change}) != digest(FILES)


def test_package_parts_name_all_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other packages, another arch or mirror is another artefact; the order of names is not."""
    monkeypatch.delenv("OSV_HARNESS_DEBIAN_MIRROR", raising=False)
    first = source_parts(["a", "b"], "x86_64")
    assert first == source_parts(["b", "a"], "x86_64")
    assert first != source_parts(["a"], "x86_64")
    assert first != source_parts(["a", "b"], "aarch64")
    monkeypatch.setenv("OSV_HARNESS_DEBIAN_MIRROR", "http://snapshot.debian.org/archive/x")
    assert first != source_parts(["a", "b"], "x86_64")


def test_closure_of_a_real_program_is_what_the_linker_loads() -> None:
    """This very Python's closure, taken from the host's own files, agrees with ldd."""
    program = str(Path(sys.executable).resolve())
    loaded = {word for row in out_of("ldd", program).splitlines() for word in row.split() if word.startswith("/")}
    found = elf_dependencies(Path("/"), [program])
    assert {program, read_elf(Path(program)).interpreter} < set(found)
    assert {path.resolve() for path in found.values()} == {Path(path).resolve() for path in {program, *loaded}}


def test_closure_leaves_out_what_is_provided_and_takes_extras() -> None:
    program = str(Path("/bin/sh").resolve())
    libc, interpreter = "libc.so.6", Path(read_elf(Path(program)).interpreter or "").name
    assert list(elf_dependencies(Path("/"), [program], provided={libc, interpreter})) == [program]
    with_extra = elf_dependencies(Path("/"), [program], extra=["libm.so.6"])
    assert [path for path in with_extra if path.endswith("/libm.so.6")]
    assert set(elf_dependencies(Path("/"), [program])) < set(with_extra)


def test_closure_names_what_is_missing(tmp_path: Path) -> None:
    """A tree with a program but not its libraries: the error says which, and for whom."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/sh"
    shutil.copyfile(Path("/bin/sh").resolve(), program)
    interpreter = read_elf(program).interpreter or ""
    with pytest.raises(BuildError, match=r"wanted by /bin/sh"):
        elf_dependencies(tmp_path, ["/bin/sh"])
    with pytest.raises(BuildError, match=r"libc\.so\.6, wanted by /bin/sh"):
        elf_dependencies(tmp_path, ["/bin/sh"], provided={Path(interpreter).name})
    assert list(elf_dependencies(tmp_path, ["/bin/sh"], provided={Path(interpreter).name, "libc.so.6"})) == [
        "/bin/sh"
    ]
    with pytest.raises(BuildError, match="no ELF file"):
        (tmp_path / "script").write_text("#!/bin/sh\n")
        elf_dependencies(tmp_path, ["/script"])


def test_links_never_lead_out_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "absolute").symlink_to("/etc")
    (tmp_path / "upwards").symlink_to("../../../../etc")
    assert resolve(tmp_path, "/absolute/passwd") == tmp_path / "etc/passwd"
    assert resolve(tmp_path, "/upwards/passwd") == tmp_path / "etc/passwd"
    (tmp_path / "round").symlink_to("round")
    assert not resolve(tmp_path, "/round").is_file()


def test_folders_are_copied_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "share/deep").mkdir(parents=True)
    (tmp_path / "share/deep/run").write_text("x")
    (tmp_path / "share/deep/run").chmod(0o755)
    (tmp_path / "share/link").symlink_to("deep/run")
    assert files_under(tmp_path, "/share") == {
        "/share": Folder(),
        "/share/deep": Folder(),
        "/share/deep/run": File(tmp_path / "share/deep/run", 0o755),
        "/share/link": Link("deep/run"),
    }
    with pytest.raises(BuildError, match="/nowhere is in none"):
        files_under(tmp_path, "/nowhere")


def test_boot_modules_come_after_those_that_they_need(tmp_path: Path) -> None:
    """Dependencies are read from the modules; what is built in needs nothing; unknown names are errors."""
    folder = tmp_path / "kernel/drivers"
    folder.mkdir(parents=True)
    for name, needed in {"virtio-rng": "virtio", "virtio": "ring,bus-x", "ring": "", "bus-x": "ring"}.items():
        (folder / f"{name}.ko").write_bytes(elf_with_modinfo(f"license=GPL\0depends={needed}\0name=x\0"))
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    assert depends(folder / "virtio.ko") == ["ring", "bus-x"]
    files = boot_modules(tmp_path, ["virtio_rng", "ext4"])
    assert files["/boot-modules/virtio_rng"].read().split() == [b"ring", b"bus_x", b"virtio", b"virtio_rng"]
    assert files["/boot-modules/ext4"].read() == b""
    assert files["/boot-modules/bus_x.ko"].read() == (folder / "bus-x.ko").read_bytes()
    with pytest.raises(BuildError, match="no module nosuch"):
        boot_modules(tmp_path, ["nosuch"])


def test_lz4_block() -> None:
    """Literals, a copy, a copy that overlaps itself, and lengths that need further bytes."""
    assert lz4_block(b"\x30abc") == b"abc"
    assert lz4_block(b"\x45abcd\x04\x00" + b"\x10x") == b"abcd" + b"abcdabcda" + b"x"
    assert lz4_block(b"\x1fa\x01\x00\xff\x05" + b"\x10z") == b"a" + b"a" * (4 + 15 + 255 + 5) + b"z"
    assert lz4_block(b"\xf0\x05" + b"q" * 20) == b"q" * 20


def test_vmlinux_of_something_else_is_refused(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(bytes(1024))
    with pytest.raises(BuildError, match="no bzImage"):
        unpack_vmlinux(kernel, tmp_path / "out")
    content = b"\x7fELF" + b"k" * 16
    kernel.write_bytes(bzimage_of(content, claimed=len(content)))
    unpack_vmlinux(kernel, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    kernel.write_bytes(bzimage_of(content, claimed=len(content) + 1))
    with pytest.raises(BuildError, match="damaged"):
        unpack_vmlinux(kernel, tmp_path / "out")


def test_clock_parameter_is_plausible() -> None:
    name, _, value = clock_parameter().partition("=")
    assert name == "tsc_early_khz"
    assert 500_000 <= int(value) <= 10_000_000


def bzimage_of(content: bytes, claimed: int) -> bytes:
    """A bzImage's header with one setup sector, and `content` as an LZ4 literal of at most 269 bytes."""
    block = bytes([0xF0, len(content) - 15]) + content
    payload = b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block + struct.pack("<I", claimed)
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(payload))
    return bytes(head) + payload


def elf_with_modinfo(text: str) -> bytes:
    """A little-endian 64-bit ELF file with the two sections that matter: `.modinfo` and the names."""
    names, info = b"\0.modinfo\0.shstrtab\0", text.encode()
    sections = [(0, 0, 0, 0), (1, 1, 64, len(info)), (10, 3, 64 + len(info), len(names))]
    rows = b"".join(
        struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, at, length, 0, 0, 1, 0) for name, kind, at, length in sections
    )
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(info) + len(names), 0, 64, 0, 0, 64, 3, 2)
    return header + info + names + rows


def test_closure_takes_patterns_and_programs_of_our_own(tmp_path: Path) -> None:
    """And a module that matches nothing is named."""
    program = str(Path(sys.executable).resolve())
    folder = Path(sysconfig.get_config_var("DESTSHARED"))
    found = elf_dependencies(
        Path("/"), ["/ours"], extra=[f"{folder.resolve()}/_s*.so"], made={"/ours": Path(program)}
    )
    assert found["/ours"] == Path(program)
    assert {path.name for path in folder.glob("_s*.so")} <= {path.name for path in found.values()}
    with pytest.raises(BuildError, match=r"/nothing/\*\.so matches nothing"):
        elf_dependencies(Path("/"), [program], extra=["/nothing/*.so"])


def test_closure_says_paths_without_detours(tmp_path: Path) -> None:
    """A search path of $ORIGIN/../lib is a plain folder in the guest."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    library, program = tmp_path / "lib/libown.so", tmp_path / "bin/program"
    own = ["gcc", "-xc", "-", "-nostdlib"]
    subprocess.run([*own, "-shared", "-o", str(library)], input=b"int own(void) { return 0; }", check=True)
    words = ["-shared", f"-L{library.parent}", "-lown", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/../lib"]
    subprocess.run(
        [*own, "-o", str(program), *words], input=b"int own(void); int x(void) { return own(); }", check=True
    )
    assert set(elf_dependencies(tmp_path, ["/bin/program"])) == {"/bin/program", "/lib/libown.so"}


class AskedCache(Cache):
    """Has nothing made, and notes under which digest it was to be kept."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.digests: dict[str, str] = {}

    def get(self, kind: str, parts: Mapping[str, object], build: Callable[[Path], None]) -> Path:
        self.digests[kind] = digest_of(parts)
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "facts.json").write_text("{}")
        return folder


def keys_in(root: Path, program: bytes) -> dict[str, str]:
    """The keys of images with a program that lies in a cache at `root`."""
    cache = AskedCache(root)
    made = root / "app-program/program"
    made.parent.mkdir(parents=True)
    made.write_bytes(program)
    contents = Contents(("busybox-static",), ("/ours",), texts={"/note": "one"}, made={"/ours": made})
    image = Linux().build_with(Cell("linux", "x86_64", "qemu", "rofs", "all"), cache, contents)
    on_osv = osv_parts(Cell("osv", "x86_64", "qemu", "rofs", "all"), contents)
    return {**cache.digests, "image": image.digest, "osv": digest_of(on_osv)}


def test_keys_are_of_contents_and_not_of_where_they_lie(tmp_path: Path) -> None:
    """Two caches agree on an app's image, wherever each is; another program is another image."""
    here, there = (keys_in(tmp_path / name, b"program") for name in ("a cache", "another"))
    other = keys_in(tmp_path / "a third", b"Program")
    assert here == there
    assert {kind for kind in here if here[kind] != other[kind]} == {"linux", "image", "osv"}
