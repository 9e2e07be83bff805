"""Makes second disks and a shared folder for guests; each is made once and cached.

They are no part of an image, so they are not in `rootfs`, whose code is in the cache keys of images.
"""

from pathlib import Path

from harness.host.cache import Cache
from harness.kernels.rootfs.disk_image import write_partitioned
from harness.kernels.rootfs.filesystems import File, Folder, write_ext4

GREETING = "of the harness\n"
"""The text of the file `greeting` on an ext disk and in a shared folder."""
EMPTY = 576 << 20
"""Bytes of an empty disk: OSv's misc-bdev-rw.so fills 511 MiB."""
EXT_FREE = 32 << 20  # bytes


def empty_disk(cache: Cache) -> Path:
    """A raw disk of zeros, without a partition."""
    return cache.get("empty-disk", {"size": EMPTY}, _write_empty) / "disk.raw"


def ext_disk(cache: Cache) -> Path:
    """A raw disk whose partition is an ext4 filesystem with the file `greeting` and a folder `empty`."""
    parts = {"free": EXT_FREE, "greeting": GREETING, "form": 1}
    return cache.get("ext-disk", parts, _write_ext) / "disk.raw"


def shared_folder(cache: Cache) -> Path:
    """A folder to share, with the file `greeting`; guests only read it."""
    return cache.get("share", {"greeting": GREETING}, _write_share) / "root"


def _write_empty(out: Path) -> None:
    with (out / "disk.raw").open("wb") as disk:
        disk.truncate(EMPTY)


def _write_ext(out: Path) -> None:
    write_ext4({"/greeting": File(GREETING.encode()), "/empty": Folder()}, out / "filesystem", EXT_FREE)
    write_partitioned(out / "filesystem", out / "disk.raw")
    (out / "filesystem").unlink()


def _write_share(out: Path) -> None:
    (out / "root").mkdir()
    (out / "root/greeting").write_text(GREETING)
