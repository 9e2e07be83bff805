"""Stands in for the transport of a hypervisor that is driven by REST: a server made from its published schema.

It is no hypervisor and boots nothing: it answers as the schema says, refuses what the schema refuses, writes
requests down, and says on its standard output that it was told to start. Run as `rest_standin.py SCHEMA LOG
[arguments of the hypervisor]`; OSV_HARNESS_STANDIN makes it misbehave: `refuse PATH`, `garbage PATH`, `fail PATH`,
`ends STATUS`, `silent`, `die`.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from itertools import pairwise
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from openapi import OpenApi

from harness.host.netns import GUEST_ADDRESS
from harness.vm.common.rest_client import Request

STARTS = {"/actions", "/vm.boot"}
SAID = "the stand-in was told to start"
ECHO_PORT = 80


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; `api` and `log` are the class's."""

    api: OpenApi
    log: Path
    base = ""

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *arguments: Any) -> None:
        return

    def answer(self) -> None:
        mood, _, where = os.environ.get("OSV_HARNESS_STANDIN", "").partition(" ")
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        request = Request(self.command, self.path.removeprefix(self.base), body)
        with self.log.open("a") as file:
            file.write(json.dumps([request.method, request.path, request.body]) + "\n")
        if where == request.path and mood == "refuse":
            self.reply(400, {"fault_message": "it is \x1b[31mrefused"})
        elif where == request.path and mood == "garbage":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
        elif where == request.path and mood == "fail":
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        elif complaints := self.api.complaints(request):
            self.reply(400, {"fault_message": "; ".join(complaints)})
        else:
            known = {"vmm_version": self.api.version.partition("-")[0]}
            self.reply(*self.api.answer(request, known))
            if request.path in STARTS:
                print(SAID, flush=True)
                if mood == "ends":
                    os._exit(int(where))

    do_GET = do_PUT = do_PATCH = answer

    def reply(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if data:  # for who has read an answer without one may be gone
            self.wfile.write(data)


def echo() -> None:
    """A guest's server, at the guest's address: sends back what comes, in capitals."""
    subprocess.run(["ip", "address", "add", f"{GUEST_ADDRESS}/32", "dev", "lo"], check=True)
    with socket.create_server((GUEST_ADDRESS, ECHO_PORT)) as server:
        while True:
            with server.accept()[0] as line:
                while data := line.recv(1 << 16):
                    line.sendall(data.upper())


def main(schema: str, log: str, arguments: list[str]) -> None:
    """Serve until killed."""
    mood = os.environ.get("OSV_HARNESS_STANDIN", "")
    if mood == "die":
        print("no luck\x07 today", file=sys.stderr)
        sys.exit(7)
    if mood == "silent":
        time.sleep(600)
    path = next(after for before, after in pairwise(arguments) if "--api-sock" in before)
    Handler.api, Handler.log = OpenApi(schema), Path(log)
    Handler.base = "/api/v1" if schema.startswith("cloud") else ""
    if "tap0" in subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout:
        threading.Thread(target=echo, daemon=True).start()
    with ThreadingUnixStreamServer(path.removeprefix("path="), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
