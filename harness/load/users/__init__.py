"""Locust's users, one module a protocol. They run in locust's processes only: importing locust patches Python."""

from importlib import import_module

from harness.load.users.asker import Asker


def user_class(protocol: str) -> type[Asker]:
    """The user that speaks a protocol: http, redis, memcached, mqtt, sql, tcp."""
    made: type[Asker] = import_module(f"harness.load.users.{protocol}").USER
    return made
