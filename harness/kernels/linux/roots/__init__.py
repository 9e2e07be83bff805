"""The root filesystems of the linux kernel: a module each, which a row of `matrix.toml` names."""
