"""A load as an app's TOML file describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.procedure import DURATION
from harness.workloads.load.schema import PROTOCOL_OF, check


@dataclass(frozen=True, slots=True)
class Load:
    """One scenario, as an app's TOML file gives it in `[load.NAME]`.

    `tool` is locust, wrk or redis-benchmark; `user`, locust's protocol: http, redis, memcached, mqtt, sql (MySQL's
    protocol), tcp. `users` ask at once (wrk's connections, redis-benchmark's clients). `rate` is in requests/s,
    which arrive evenly whatever the server does; 0 is a closed loop, in which each user asks when it was
    answered. `duration` is in seconds. `requests` are what is asked and what a right answer is: `schema.py` lists
    the keys, the modules of `users` say what they mean. Of several rows each is asked in proportion to its
    `weight`; `{n}` in any of a row's values is the request's number.
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
