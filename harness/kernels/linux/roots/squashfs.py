"""A squashfs disk. Programs write in /tmp, which is in memory where the root can't be written."""

from harness.kernels.linux.roots.base import Root
from harness.kernels.rootfs.filesystems import write_squashfs

TMPFS = "tmpfs /tmp tmpfs mode=1777 0 0\ntmpfs /var/tmp tmpfs mode=1777 0 0\n"
ROOT = Root(write_squashfs, kind="squashfs", is_module=True, mounts=TMPFS)
