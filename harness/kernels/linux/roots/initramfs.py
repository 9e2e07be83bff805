"""Everything in the initramfs: the root is the guest's RAM."""

from harness.kernels.linux.roots.base import Root

ROOT = Root()
