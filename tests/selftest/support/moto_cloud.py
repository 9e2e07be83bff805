"""Moto's servers of EC2 and EBS on loopback, in this process. They boot nothing.

`fault` is called with a request's name before it is carried out.
"""

import base64
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ebs.models import ebs_backends
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, StateReason
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REGION = "us-east-1"
ENDED = ("terminated", "shutting-down")
EBS = (
    (r"POST /snapshots", "StartSnapshot"), (r"PUT /snapshots/[^/]+/blocks/\d+", "PutSnapshotBlock"),
    (r"POST /snapshots/completion/[^/]+", "CompleteSnapshot"),
)  # fmt: skip
Refusal = tuple[int, str, str]
"""The HTTP status, the code and the message of an error."""


class Cloud:
    """What the account has at AWS, and everything that was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fault: Callable[[str], Refusal | None] = lambda name: None
        self.url = ""
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        name = next((name for pattern, name in EBS if re.fullmatch(pattern, asked)), "")
        if not name:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            name = parse_qs(body.decode())["Action"][0]
        self.asked.append(name)
        if refused := self.fault(name):
            status, code, message = refused
            start_response(f"{status} refused", [("Content-Type", "text/xml"), ("x-amzn-errortype", code)])
            words = _ebs_error(message) if name in dict(EBS).values() else _ec2_error(code, message)
            return [words]
        return self._moto(environ, start_response)

    @property
    def machines(self) -> list[Instance]:
        """Every machine that has not ended."""
        ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        every = [one for reservation in ec2.reservations.values() for one in reservation.instances]
        return [one for one in every if one.state not in ENDED]

    def end(self, code: str, message: str, state: str = "terminated") -> None:
        """Have the one machine ended, for that reason."""
        (machine,) = self.machines
        machine.state_reason = StateReason(message, code)  # first: an answer that is made meanwhile reads it last
        machine._state.name = state

    def kept(self) -> list[str]:
        """What this harness has in the cloud, by the first letters of the ids."""
        ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        # Moto has more snapshots than it was asked for, without a tag: of each image, one of its own.
        tagged = [one for one in ec2.snapshots.values() if one.get_tags()]
        found = [*self.machines, *ec2.amis.values(), *tagged]
        return sorted(one.id.split("-")[0] for one in found)

    def disk(self, length: int) -> bytes:
        """The start of the disk that was uploaded last."""
        *_, snapshot = ebs_backends[DEFAULT_ACCOUNT_ID][REGION].snapshots.values()
        disk = bytearray(length)
        for index, block in snapshot.blocks.items():
            assert hashlib.sha256(block.block_data).digest() == base64.b64decode(block.checksum)
            start = index * len(block.block_data)
            disk[start : start + len(block.block_data)] = block.block_data
        return bytes(disk[:length])


def _ec2_error(code: str, message: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return f"<Response><Errors>{error}</Errors><RequestID>none</RequestID></Response>".encode()


def _ebs_error(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


@contextmanager
def served() -> Iterator[Cloud]:
    """A cloud that answers on loopback, without anything in it."""
    for backends in (ec2_backends, ebs_backends):
        backends[DEFAULT_ACCOUNT_ID][REGION].reset()
    cloud = Cloud()
    server = make_server("127.0.0.1", 0, cloud, threaded=True, request_handler=MotoRequestHandler)
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
