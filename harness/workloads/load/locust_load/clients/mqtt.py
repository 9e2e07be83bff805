"""MQTT 3.1.1 over TCP: publishes with QoS 1 and gets each message back by its own subscription.

Rows: `topic` and `payload`. Each user prefixes the topic with a name of its own, so that it gets no other user's
messages. A request is complete when the broker has acknowledged the message and delivered it.

No client library fits: paho-mqtt runs its own loop in a thread, which hides when an answer came. Source: MQTT
3.1.1 (OASIS, 2014), sections 2.2 (the fixed header) and 3 (the packets).
"""

import itertools
import os
import socket
from collections.abc import Mapping
from typing import Any

from harness.workloads.load.locust_load.clients.base import Client, Request, WrongAnswer
from harness.workloads.load.locust_load.clients.tcp import connect_to, read_exactly
from harness.workloads.load.locust_load.schedule import Task

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
QOS_1 = 0b0010
CLEAN_SESSION = 0b0010


class Mqtt:
    """One connection and one subscription, made again after a failure."""

    _numbers = itertools.count(1)

    def __init__(self, task: Task) -> None:
        self._task = task
        self._socket: socket.socket | None = None
        self._name = f"load-{os.getpid()}-{next(self._numbers)}"

    def connect(self) -> None:
        """Connect and subscribe to everything below our own name."""
        self._socket = connect_to(self._task)
        self._send(CONNECT, _text("MQTT") + bytes([4, CLEAN_SESSION, 0, 0]) + _text(self._name))
        self._expect(CONNACK, b"\x00\x00")
        self._send(SUBSCRIBE, b"\x00\x01" + _text(f"{self._name}/#") + b"\x00", QOS_1)
        self._expect(SUBACK, b"\x00\x01\x00")

    def disconnect(self) -> None:
        """Close it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def prepare(self, row: Mapping[str, Any]) -> Request:
        """Publish, and wait for the acknowledgement and the message, whichever comes first."""
        topic, payload = _text(f"{self._name}/{row['topic']}"), row.get("payload", "").encode()
        acknowledged = (PUBACK << 4, b"\x00\x02")
        delivered = (PUBLISH << 4, topic + payload)

        def ask() -> int:
            if self._socket is None:
                self.connect()
            self._send(PUBLISH, topic + b"\x00\x02" + payload, QOS_1)
            if {self._receive(), self._receive()} != {acknowledged, delivered}:
                self.disconnect()
                raise WrongAnswer("wrong answer")
            return len(payload)

        return ask

    def _send(self, kind: int, body: bytes, flags: int = 0) -> None:
        assert self._socket is not None
        self._socket.sendall(bytes([kind << 4 | flags]) + _length(len(body)) + body)

    def _receive(self) -> tuple[int, bytes]:
        """The first byte and the body of the next packet."""
        assert self._socket is not None
        first, length, shift = read_exactly(self._socket, 1)[0], 0, 0
        while True:
            (byte,) = read_exactly(self._socket, 1)
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first, read_exactly(self._socket, length)

    def _expect(self, kind: int, body: bytes) -> None:
        received = self._receive()
        if received != (kind << 4, body):
            raise WrongAnswer(f"refused by the broker: {received[1].hex()}")


def _text(text: str) -> bytes:
    """A string with its length before it (section 1.5.3)."""
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    """Seven bits per byte, the least significant first (section 2.2.3)."""
    coded = b""
    while True:
        size, low = divmod(size, 128)
        coded += bytes([low | (0x80 if size else 0)])
        if not size:
            return coded


CLIENT: type[Client] = Mqtt
