"""Runs cells on many machines, by dask.distributed."""
