"""Kernels that are already built."""
