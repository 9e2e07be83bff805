"""The keys of `[load.NAME]` and of its `requests`, by tool and protocol; checked before anything runs."""

from collections.abc import Mapping
from typing import Any

from harness.core.errors import HarnessError
from harness.core.suggestions import did_you_mean

Types = type | tuple[type, ...]
NUMBER = (int, float)

LOAD: Mapping[str, Types] = {
    "tool": str, "user": str, "users": int, "rate": NUMBER, "duration": NUMBER, "requests": (list, tuple),
}  # fmt: skip

HTTP: Mapping[str, Types] = {
    "method": str, "path": str, "headers": Mapping, "send": str,
    "status": int, "body": str, "contains": str, "length": int,
}  # fmt: skip

USERS: Mapping[str, Mapping[str, Types]] = {
    "http": HTTP,
    "redis": {"command": list, "answer": (str, int, list), "pipeline": list, "answers": list},
    "memcached": {"set": str, "get": str, "value": str},
    "mqtt": {"topic": str, "payload": str},
    "sql": {"query": str, "rows": list, "user": str, "password": str, "database": str},
    "tcp": {"send": str, "answer": str},
}
"""The keys of a row, by locust's users; each user's module explains them. Any row may have a `weight`."""

ONE_OF: Mapping[str, tuple[str, ...]] = {
    "redis": ("command", "pipeline"), "memcached": ("set", "get"), "mqtt": ("topic",), "sql": ("query",),
    "tcp": ("answer",),
}  # fmt: skip
"""A row needs one of these keys."""

TOOLS = ("locust", "wrk", "redis-benchmark")
PROTOCOL_OF = {"wrk": "http", "redis-benchmark": "redis"}
"""The protocol of tools that have only one."""


def check(where: str, row: Mapping[str, Any]) -> None:
    """Raise `HarnessError`, with the wrong key and the nearest right one, unless the row is a valid load."""
    _check_keys(where, row, LOAD)
    tool = row.get("tool", "")
    if tool not in TOOLS:
        raise HarnessError(f"{where}: there is no tool {tool!r}.", did_you_mean(tool, TOOLS))
    user = row.get("user", "")
    if tool == "locust" and user not in USERS:
        raise HarnessError(f"{where}: locust has no user {user!r} here.", did_you_mean(user, tuple(USERS)))
    if tool in PROTOCOL_OF and user not in ("", PROTOCOL_OF[tool]):
        raise HarnessError(
            f"{where}: {tool} asks by {PROTOCOL_OF[tool]} only.", "Leave `user` out, or use locust."
        )
    if tool in PROTOCOL_OF and row.get("rate", 0):
        raise HarnessError(f"{where}: {tool} can't keep a rate.", "Leave `rate` out, or use locust.")
    for key in ("users", "duration"):
        if row.get(key, 1) <= 0:
            raise HarnessError(f"{where}: {key} is {row[key]}.", "It must be more than 0.")
    if row.get("rate", 0) < 0:
        raise HarnessError(f"{where}: rate is {row['rate']}.", "0 is a closed loop, more is requests/s.")
    _check_requests(where, tool, PROTOCOL_OF.get(tool, user), row.get("requests", ()))


def _check_requests(where: str, tool: str, user: str, requests: Any) -> None:
    if not requests:
        raise HarnessError(f"{where}: nothing is asked.", f"Add `requests`: rows of {', '.join(USERS[user])}.")
    for number, request in enumerate(requests, 1):
        place = f"{where}: request {number}"
        if not isinstance(request, Mapping):
            raise HarnessError(f"{place} is no table.", f"Its keys are: {', '.join(USERS[user])}.")
        _check_keys(place, request, {**USERS[user], "weight": NUMBER})
        needed = ONE_OF.get(user, ())
        if needed and sum(key in request for key in needed) != 1:
            raise HarnessError(f"{place} says not what is asked.", f"It needs {' or '.join(needed)}.")
        if request.get("weight", 1) <= 0:
            raise HarnessError(f"{place}: weight is {request['weight']}.", "It must be more than 0.")
    if tool == "redis-benchmark":
        _check_benchmark(where, requests)
    if tool == "wrk" and any("{n}" in str(value) for request in requests for value in request.values()):
        raise HarnessError(f"{where}: wrk sends each request as it is, without {{n}}.", "Use locust for {n}.")


def _check_benchmark(where: str, requests: Any) -> None:
    """redis-benchmark repeats one command and checks no answer."""
    if len(requests) != 1 or "command" not in requests[0]:
        raise HarnessError(f"{where}: redis-benchmark repeats one command.", "Give one row with `command`.")
    if "answer" in requests[0]:
        raise HarnessError(f"{where}: redis-benchmark looks at no answer.", "Leave `answer` out, or use locust.")


def _check_keys(where: str, row: Mapping[str, Any], known: Mapping[str, Types]) -> None:
    for key, value in row.items():
        if key not in known:
            raise HarnessError(f"{where}: there is no key {key!r}.", did_you_mean(key, known))
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise HarnessError(f"{where}: {key} is {value!r}.", f"It must be a {_type_names(known[key])}.")


def _type_names(types: Types) -> str:
    names = {str: "string", list: "list", tuple: "list", int: "number", float: "number", Mapping: "table"}
    every = types if isinstance(types, tuple) else (types,)
    return " or ".join(dict.fromkeys(names[kind] for kind in every))
