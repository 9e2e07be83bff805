"""Where bootable kernels come from: a package for each kernel."""
