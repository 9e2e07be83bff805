"""This machine: what it can run, its processes, its cpus, the cache."""
