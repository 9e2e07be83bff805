"""A load as an app's TOML file describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.procedure import DURATION
from harness.workloads.load.schema import PROTOCOL_OF, check


@dataclass(frozen=True, slots=True)
class Load:
    """One scenario, from `[load.NAME]` in an app's TOML file.

    `tool` is locust, wrk or redis-benchmark; `user` is locust's protocol: http, redis, memcached, mqtt, sql
    (MySQL's protocol), tcp. `users` is the number of concurrent users (wrk's connections, redis-benchmark's
    clients). `rate` is in requests/s, which arrive evenly whatever the server does; 0 is a closed loop, in which
    each user sends a request when the last one was answered. `duration` is in seconds. `requests` are the requests
    and their right answers: `schema.py` lists the keys, the modules of `clients` explain them. Of several rows
    each is sent in proportion to its `weight`; `{n}` in a row's values is the request's number.
    """

    name: str
    tool: str
    user: str = ""
    users: int = 1
    rate: float = 0.0
    duration: float = DURATION
    requests: tuple[Mapping[str, Any], ...] = ()


def load_from(name: str, row: Mapping[str, Any]) -> Load:
    """The load that a table of TOML describes. Raises `HarnessError` that names the wrong key, tool or user."""
    check(f"load.{name}", row)
    user = row.get("user") or PROTOCOL_OF[row["tool"]]
    return Load(name, **{**row, "user": user, "requests": tuple(row["requests"])})
