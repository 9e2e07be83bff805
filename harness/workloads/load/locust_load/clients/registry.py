"""Locust's users: one asker, and one module a protocol with the client that it asks by.

They run in locust's processes only: importing locust patches Python.
"""

from importlib import import_module

from harness.workloads.load.locust_load.clients.base import Client


def client_of(protocol: str) -> type[Client]:
    """What speaks a protocol: http, redis, memcached, mqtt, sql, tcp."""
    found: type[Client] = import_module(f"harness.workloads.load.locust_load.clients.{protocol}").CLIENT
    return found
