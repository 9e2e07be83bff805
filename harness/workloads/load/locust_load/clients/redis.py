"""Redis's protocol by redis-py's connection, whose answers are unconverted: `OK`, numbers, lists.

Rows: `command`, a list of words, and its `answer`; or `pipeline`, a list of commands that are sent at once, and
their `answers`. A pipeline is one request. Without `answer` everything but an error is right.
"""

from collections.abc import Mapping
from typing import Any

from redis.connection import Connection
from redis.exceptions import ResponseError

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.schedule import Task


class Redis:
    """One connection, opened again after a failure."""

    def __init__(self, task: Task) -> None:
        self._redis = Connection(
            task.host, task.port, protocol=2, driver_info=None, decode_responses=True, encoding_errors="replace",
            socket_timeout=task.timeout, socket_connect_timeout=task.timeout,
        )  # fmt: skip

    def connect(self) -> None:
        """Connect, and send nothing yet."""
        self._redis.connect()

    def disconnect(self) -> None:
        """Close it; sending connects again."""
        self._redis.disconnect()

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Send a command, or several at once, and read as many answers."""
        commands = row["pipeline"] if "pipeline" in row else [row["command"]]
        wanted = row.get("answers") if "pipeline" in row else [row["answer"]] if "answer" in row else None
        packed = self._redis.pack_commands(commands)

        def ask() -> int:
            self._redis.send_packed_command(packed)
            received = [self._answer() for _ in commands]
            for answer in received:
                if isinstance(answer, ResponseError):
                    raise WrongAnswer(f"error answer: {answer}"[:80])
            if wanted not in (None, received):
                raise WrongAnswer("wrong answer")
            return sum(len(str(answer)) for answer in received)

        return ask

    def _answer(self) -> Any:
        """Read one answer. An error is returned too, because the answers to a pipeline's other commands follow
        it."""
        try:
            return self._redis.read_response()
        except ResponseError as error:
            return error


CLIENT: type[Client] = Redis
