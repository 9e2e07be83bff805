"""Sends a program one request from outside, and checks the answer.

A check is a table of an app's file:

- `get` (a path), with `status` (200), `body` (the whole of it), `contains` or `length` (bytes): HTTP; - `send`
(text) or `send_hex`, with `answer` (its beginning), `answer_hex` or `contains`: bytes over TCP. Without `send` the
program sends first.

With `within` (seconds) the request is repeated until the answer is right, for a server that accepts no client for
a moment after the last one.
"""

import http.client
import socket
from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any

SECONDS = 10.0
LONGEST = 1 << 20
RETRY_SECONDS = 0.05


def mismatch(check: Mapping[str, Any], port: int, seconds: float = SECONDS) -> str:
    """How the program's answer differs from the expected one; empty if it is right. `port` is on 127.0.0.1."""
    ends = monotonic() + check.get("within", 0.0)
    while (wrong := _ask_once(check, port, seconds)) and monotonic() < ends:
        sleep(RETRY_SECONDS)
    return wrong


def _ask_once(check: Mapping[str, Any], port: int, seconds: float) -> str:
    try:
        return _get(check, port, seconds) if "get" in check else _exchange(check, port, seconds)
    except TimeoutError:
        return f"{_what(check)}: no answer within {seconds:.0f} s"
    except ConnectionResetError:
        return f"{_what(check)}: the connection was reset"
    except (OSError, http.client.HTTPException) as error:
        return f"{_what(check)}: {error or type(error).__name__}"


def _get(check: Mapping[str, Any], port: int, seconds: float) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", check["get"], headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(LONGEST)
    finally:
        connection.close()
    if answer.status != check.get("status", 200):
        return f"{_what(check)}: status {answer.status}"
    if "length" in check and len(body) != check["length"]:
        return f"{_what(check)}: {len(body)} bytes where {check['length']} are right"
    if "body" in check and body != check["body"].encode():
        return f"{_what(check)}: the body is {_quoted(body)}"
    return _missing_text(check, body)


def _exchange(check: Mapping[str, Any], port: int, seconds: float) -> str:
    sent = bytes.fromhex(check["send_hex"]) if "send_hex" in check else check.get("send", "").encode()
    expected = bytes.fromhex(check["answer_hex"]) if "answer_hex" in check else check.get("answer", "").encode()
    text = check.get("contains", "").encode()
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line:
        line.sendall(sent)
        while not (len(received) >= len(expected) and text in received and received) and len(received) < LONGEST:
            data = line.recv(65536)
            if not data:
                break
            received += data
    if not received:
        return f"{_what(check)}: it closed the connection without an answer"
    if not received.startswith(expected):
        return f"{_what(check)}: the answer is {_quoted(received)}"
    return _missing_text(check, received)


def _missing_text(check: Mapping[str, Any], received: bytes) -> str:
    if check.get("contains", "").encode() in received:
        return ""
    return f"{_what(check)}: {check['contains']!r} is not in {_quoted(received)}"


def _what(check: Mapping[str, Any]) -> str:
    if "get" in check:
        return f"GET {check['get']}"
    return f"asked {check.get('send', check.get('send_hex', 'nothing')).strip()!r}"


def _quoted(received: bytes) -> str:
    """A guest's bytes, safe to show."""
    text = ascii(received[:200].decode("utf-8", "replace"))
    return text + ("…" if len(received) > 200 else "")
