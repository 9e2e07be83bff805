"""The harness inside other systems: pytest, CI, a Dask farm, a web server, a VM with nested KVM."""
