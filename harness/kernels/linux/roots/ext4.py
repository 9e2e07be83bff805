"""An ext4 disk with room for what programs write."""

from functools import partial

from harness.kernels.linux.roots.base import Root
from harness.kernels.rootfs.filesystems import write_ext4

FREE = 192 << 20  # bytes
ROOT = Root(partial(write_ext4, free=FREE), kind="ext4", writable=True)
