"""What of an image one program can meet, as digests: two images may differ and be the same to a program.

Images of two commits differ in bytes that change nothing: the version that the kernel prints, and the build IDs of
its programs. Both are masked. The files of an OSv image's root can be told apart, so that a changed test does not
change what the other tests meet. All other images are one whole.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.core.errors import BuildError
from harness.core.machine import Image
from harness.host.cache import Cache, digest_of
from harness.host.temp_dir import temporary_dir
from harness.kernels.osv import bootfs, rofs

RECIPE = 3
"""Part of every cache key; raise it when the same image gets other digests."""

TESTS = "/tests/"
"""The folder of OSv's tests and of what only they load. All other files count for every program."""

VERSION = re.compile(r"v?\d+\.\d[\w.-]*")
FRAGMENT = 8
"""Bytes: compilers copy a string in pieces, of which none that says anything is shorter."""

# Source: ELF's Note Section; the GNU ABI's NT_GNU_BUILD_ID (3), of 20 bytes with SHA-1.
BUILD_ID, NOTE_OWNER, BUILD_ID_SIZE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0", b"GNU\0", 20
ELF = b"\x7fELF"

WORD = re.compile(rb"[A-Za-z0-9_.+-]{3,}")

LISTS = (b"opendir", b"scandir", b"getdents", b"directory_iterator", b"ftw", b"fts_open", b"glob64", b"/tests\0",
         b"/tests/\0")  # fmt: skip
"""What a program has in it that can list folders, or can make a path of a test from parts."""

JAVA, JAVAS_FOLDERS = (b"java", b"jvm", b"/etc/pki"), ("/usr/lib/jvm/", "/etc/pki/")
"""What a program has in it that can meet Java or its certificates, and where they lie. The certificates are made
anew with each image, and have the time in them."""

READS_DISK = (b"vblk",)
"""What a program has in it that reads OSv's disks without their filesystem."""

LIBRARY = ".so"


@dataclass(frozen=True, slots=True)
class TestFile:
    """A file of the tests' folder: its digest, the others of that folder that it names, whether it may list
    folders, meet Java, and read the disk's bytes."""

    digest: str
    names: tuple[str, ...] = ()
    lists: bool = False
    java: bool = False
    reads_disk: bool = False


@dataclass(frozen=True, slots=True)
class ImageContent:
    """Digests of an image's parts.

    - `common` is of what all programs meet: the kernel, its command line, and every file that is no test's and not
      Java's; `java` is of those.
    - `whole` is of all bytes, with those of the disks.
    - `tests` are the files of the tests by their paths in the guest; empty if they can't be told apart.
    """

    common: str
    whole: str
    java: str = ""
    tests: Mapping[str, TestFile] = field(default_factory=dict)

    def met_by(self, command: str, reads_disk: bool = False) -> str:
        """The digest of what the command's program can meet.

        `reads_disk` is whether it is known to read the disk's bytes. A program that is not among the tests meets
        everything, as does one that is too clever to tell.
        """
        reached = self._reached(word for word in command.split() if word in self.tests)
        files = [self.tests[path] for path in reached]
        if not files or reads_disk or any(one.reads_disk for one in files):
            return self.whole
        lists = any(one.lists for one in files)
        parts = {
            "common": self.common,
            "java": self.java if lists or any(one.java for one in files) else "",
            "files": [[path, self.tests[path].digest] for path in (sorted(self.tests) if lists else reached)],
        }
        return digest_of(parts)

    def _reached(self, begin: Iterator[str]) -> list[str]:
        """The tests' files that are named from these on, in order."""
        found: set[str] = set()
        waiting = list(begin)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.add(path)
                waiting += self.tests[path].names
        return sorted(found)


def content_of(image: Image, cache: Cache) -> ImageContent:
    """The content of the image, from the cache if it was looked at before. Raises `HostError`, `BuildError`."""
    parts = {"image": image.digest, "recipe": RECIPE}
    data = cache.get("image-content", parts, lambda out: _write(image, out))
    row = json.loads((data / "content.json").read_text())
    tests = {path: TestFile(**{**one, "names": tuple(one["names"])}) for path, one in row["tests"].items()}
    return ImageContent(row["common"], row["whole"], row["java"], tests)


def _write(image: Image, out: Path) -> None:
    mask = _mask_of(image)
    parts = [image.cmdline, _hex(mask(image.kernel.read_bytes())), *([_raw(image.initrd)] if image.initrd else [])]
    disks = [_raw(disk.path) for disk in image.disks]
    content = ImageContent("", digest_of({"boots": parts, "disks": disks}))
    if image.cell.kernel == "osv" and image.cell.fs == "virtiofs" and image.share:
        content = _apart(image.share, parts, disks, mask)
    elif image.cell.kernel == "osv" and image.cell.fs == "rofs" and len(disks) == 1:
        with temporary_dir("osv-harness-content-") as work:
            rofs.unpack(image.disks[0], work / "root")
            content = _apart(work / "root", parts, disks, mask)
    elif image.cell.kernel == "osv" and image.cell.fs == "ramfs" and not disks:
        with temporary_dir("osv-harness-content-") as work, suppress(BuildError):
            kernel = bootfs.unpack(image.kernel.read_bytes(), work / "root")
            boots = [image.cmdline, _hex(mask(kernel)), *parts[2:]]
            content = _apart(work / "root", boots, disks, mask)
    (out / "content.json").write_text(json.dumps(asdict(content)))


Mask = Callable[[bytes], bytes]


def _apart(root: Path, boots: list[str], disks: list[str], mask: Mask) -> ImageContent:
    """The content of an image whose files lie in `root`."""
    every = {f"/{path.relative_to(root)}": path for path in sorted(root.rglob("*"))}
    of_tests = {path: file for path, file in every.items() if path.startswith(TESTS) and not file.is_dir()}
    names = {path.rsplit("/", 1)[1]: path for path in of_tests}
    named = names | {name.removesuffix(LIBRARY): path for name, path in names.items()}
    tests = {path: _test_file(file, named, mask) for path, file in of_tests.items()}
    others = {path: _file_digest(file, mask) for path, file in every.items() if path not in of_tests}
    javas = {path: others.pop(path) for path in list(others) if path.startswith(JAVAS_FOLDERS)}
    common, java = digest_of({"boots": boots, "files": others}), digest_of(javas) if javas else ""
    digests = {path: one.digest for path, one in tests.items()}
    whole = digest_of({"common": common, "java": java, "tests": digests, "disks": disks})
    return ImageContent(common, whole, java, tests)


def _test_file(file: Path, named: Mapping[str, str], mask: Mask) -> TestFile:
    if file.is_symlink():
        target = str(file.readlink())
        found = named.get(target.rsplit("/", 1)[-1])
        return TestFile(digest_of({"link": target}), (found,) if found else ())
    content = file.read_bytes()
    words = {word.decode() for word in set(WORD.findall(content))}
    return TestFile(
        _hex(mask(content)),
        tuple(sorted({named[word] for word in words & named.keys()})),
        *(any(sign in content for sign in signs) for signs in (LISTS, JAVA, READS_DISK)),
    )


def _file_digest(file: Path, mask: Mask) -> str:
    if file.is_symlink():
        return digest_of({"link": str(file.readlink())})
    return "folder" if file.is_dir() else _digest(file, mask)


def _digest(file: Path, mask: Mask) -> str:
    content = file.read_bytes()
    return _hex(mask(content) if content.startswith(ELF) else content)


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _raw(file: Path) -> str:
    """The digest without a mask: of what is large, or compressed, so that nothing could be found in it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _mask_of(image: Image) -> Mask:
    """What blanks build IDs and, in OSv, the version with its fragments.

    A compiler may load the version in pieces of 8 or 16 bytes, as constants of the code. Two images that are equal
    with all of them blank differ in nothing else.
    """
    told = image.facts.get("commit", "").removesuffix("+changes").encode()
    fragments: list[bytes] = []
    if image.cell.kernel == "osv" and VERSION.fullmatch(told.decode()):
        fragments = [told, *(told[at : at + FRAGMENT] for at in range(len(told) - FRAGMENT + 1))]

    def mask(content: bytes) -> bytes:
        blanked = bytearray(content)
        for fragment in fragments:
            for at in _places(content, fragment):
                blanked[at : at + len(fragment)] = bytes(len(fragment))
        for at in _places(content, NOTE_OWNER):
            first = at + len(NOTE_OWNER)
            end = min(first + BUILD_ID_SIZE, len(content))
            if content[at - len(BUILD_ID) : at] == BUILD_ID:
                blanked[first:end] = bytes(end - first)
        return bytes(blanked)

    return mask


def _places(content: bytes, sought: bytes) -> Iterator[int]:
    at = content.find(sought)
    while at >= 0:
        yield at
        at = content.find(sought, at + 1)
