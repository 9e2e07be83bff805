"""Many machines, by dask.distributed."""
