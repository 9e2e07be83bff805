"""The root filesystems of the Linux kernel: one module each, named by a row of `matrix.toml`."""
