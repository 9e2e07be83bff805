"""The clients of locust's users, one module per protocol.

They run only in locust's processes: importing locust patches Python.
"""

from importlib import import_module

from harness.workloads.load.locust_load.clients.base import Client


def client_of(protocol: str) -> type[Client]:
    """The client class of a protocol: http, redis, memcached, mqtt, sql, tcp."""
    found: type[Client] = import_module(f"harness.workloads.load.locust_load.clients.{protocol}").CLIENT
    return found
