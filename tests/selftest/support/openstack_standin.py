"""Stands in for a cloud of OpenStack's on loopback, and boots nothing.

Identity, images and servers are as openstacksdk's own fakes and keystoneauth's own fixtures have them: the SDK's
own tests have no server either, except for all of OpenStack (devstack).

It keeps what it is asked to create, as Glance and Nova would list it, and refuses to delete an image that a server
has. `fault` is called with a request's name before it is carried out. Source: Nova's api/openstack/compute
(console_output.py, servers.py, instance_actions.py).
"""

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from keystoneauth1.fixture import V3Discovery, V3Token
from openstack.compute.v2.flavor import Flavor
from openstack.compute.v2.server import Server
from openstack.image.v2.image import Image
from openstack.test.fakes import generate_fake_resource

SAID = "the stand-in was told to start \ufffd\n"
"""Nova removes all control characters except for line ends, and what is not ASCII is replaced."""
PASSWORD = "only loopback hears it"
Answer = tuple[int, Any]
NO_SERVER = 404, {"itemNotFound": {"code": 404, "message": "no such server"}}


class Cloud:
    """What the cloud has, and everything that it was asked."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.servers: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fault: Callable[[str], Answer | None] = lambda name: None
        self.url = ""
        self.console: str | None = SAID
        self.boots = True
        self.stores = True
        self.token = ""
        self.stopped_by: str | None = None
        self.flavors = [
            _body(Flavor, id=str(index), name=name, vcpus=cpus, ram=memory, disk=disk)
            for index, (name, cpus, memory, disk) in enumerate(
                [
                    ("m1.tiny", 1, 512, 1),
                    ("m1.diskless", 2, 256, 0),
                    ("m1.large", 8, 8192, 80),
                    ("m1.fits", 2, 512, 1),
                ]
            )
        ]

    def kept(self) -> list[str]:
        """The names of all images and servers."""
        return [one["name"] for one in (*self.images.values(), *self.servers.values())]

    def answer(self, method: str, target: str, body: bytes, token: str) -> Answer:
        """The status and the body of the answer."""
        url = urlsplit(target)
        for pattern, name in ROUTES:
            if found := re.fullmatch(pattern, f"{method} {url.path}"):
                asked = {key: values[0] for key, values in parse_qs(url.query).items()}
                words = json.loads(body) if body[:1] == b"{" else body
                known = next(iter(words)) if name == "act" else name
                self.asked.append(known)
                if refused := self.fault(known):
                    return refused
                if token != self.token and name not in UNASKED:
                    return 401, {"error": {"code": 401, "message": "The token is not valid."}}
                return getattr(self, f"_{name}")(*found.groups(), asked=asked, body=words)
        return 404, {"error": {"code": 404, "message": f"{method} {target}"}}

    def _identity(self, **_: Any) -> Answer:
        return 200, {"version": V3Discovery(f"{self.url}/v3")}

    def _token(self, body: Any, **_: Any) -> Answer:
        if body["auth"]["identity"]["password"]["user"]["password"] != PASSWORD:
            return 401, {"error": {"code": 401, "message": "The request requires \x1b[31mauthentication."}}
        self.token = uuid.uuid4().hex
        token = V3Token(project_id=uuid.uuid4().hex)
        for kind in ("image", "compute"):
            token.add_service(kind).add_standard_endpoints(public=f"{self.url}/{kind}", region="here")
        return 201, token

    def _image_versions(self, **_: Any) -> Answer:
        link = {"href": f"{self.url}/image/v2/", "rel": "self"}
        return 300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": [link]}]}

    def _compute_versions(self, **_: Any) -> Answer:
        link = {"href": f"{self.url}/compute/v2.1/", "rel": "self"}
        version = {"id": "v2.1", "status": "CURRENT", "version": "2.95", "min_version": "2.1", "links": [link]}
        return 200, {"versions": [version]}

    def _list_images(self, asked: dict[str, str], **_: Any) -> Answer:
        return 200, {
            "images": [one for one in self.images.values() if one["name"] == asked.get("name", one["name"])]
        }

    def _create_image(self, body: dict[str, Any], **_: Any) -> Answer:
        made = _body(Image, status="queued") | body | {"id": str(uuid.uuid4())}
        self.images[made["id"]] = made
        return 201, made

    def _upload(self, image: str, body: bytes, **_: Any) -> Answer:
        self.data[image] = body
        if self.stores:
            self.images[image] |= {"status": "active", "size": len(body)}
        return 204, None

    def _image(self, image: str, **_: Any) -> Answer:
        return (200, self.images[image]) if image in self.images else (404, {"message": "no such image"})

    def _delete_image(self, image: str, **_: Any) -> Answer:
        if any(one["image"]["id"] == image for one in self.servers.values()):
            return 409, {"message": "in use"}
        return (204, None) if self.images.pop(image, None) else (404, {"message": "no such image"})

    def _list_flavors(self, **_: Any) -> Answer:
        return 200, {"flavors": self.flavors}

    def _list_servers(self, asked: dict[str, str], **_: Any) -> Answer:
        pattern = asked.get("name", "")
        return 200, {"servers": [one for one in self.servers.values() if re.search(pattern, one["name"])]}

    def _create_server(self, body: dict[str, Any], **_: Any) -> Answer:
        wanted = body["server"]
        assert wanted["networks"] == "none"
        assert self.images[wanted["imageRef"]]["status"] == "active"
        assert wanted["flavorRef"] in [one["id"] for one in self.flavors]
        made = {"id": str(uuid.uuid4()), "name": wanted["name"], "status": "BUILD"}
        made["image"] = {"id": wanted["imageRef"]}
        self.servers[made["id"]] = made
        return 202, {"server": {"id": made["id"]}}

    def _server(self, server: str, **_: Any) -> Answer:
        if server not in self.servers:
            return NO_SERVER
        seen = _body(Server) | self.servers[server]
        if self.boots and self.servers[server]["status"] == "BUILD":
            self.servers[server]["status"] = "ACTIVE"
        return 200, {"server": seen}

    def _list_actions(self, server: str, **_: Any) -> Answer:
        done = [("create", "demo"), ("stop", self.stopped_by)]
        actions = [{"action": action, "user_id": user, "instance_uuid": server} for action, user in done]
        return 200, {"instanceActions": actions}

    def _delete_server(self, server: str, **_: Any) -> Answer:
        return (204, None) if self.servers.pop(server, None) else NO_SERVER

    def _act(self, server: str, body: dict[str, Any], **_: Any) -> Answer:
        if server not in self.servers:
            return NO_SERVER
        status = self.servers[server]["status"]
        if "os-getConsoleOutput" in body:
            if status == "BUILD":
                return 409, {"conflictingRequest": {"code": 409, "message": "Instance not ready"}}
            if self.console is None:
                return 404, {"itemNotFound": {"code": 404, "message": "Guest does not have a console available."}}
            return 200, {"output": self.console}
        assert "os-stop" in body
        self.stopped_by = "demo"
        self.servers[server]["status"] = "SHUTOFF"
        return 202, None


ROUTES = (
    (r"GET /v3/?", "identity"), (r"POST /v3/auth/tokens", "token"),
    (r"GET /image/?", "image_versions"), (r"GET /compute/?", "compute_versions"),
    (r"GET /image/v2/images", "list_images"), (r"POST /image/v2/images", "create_image"),
    (r"PUT /image/v2/images/([^/]+)/file", "upload"), (r"GET /image/v2/images/([^/]+)", "image"),
    (r"DELETE /image/v2/images/([^/]+)", "delete_image"), (r"GET /compute/v2.1/flavors/detail", "list_flavors"),
    (r"GET /compute/v2.1/servers", "list_servers"), (r"POST /compute/v2.1/servers", "create_server"),
    (r"GET /compute/v2.1/servers/([^/]+)", "server"), (r"DELETE /compute/v2.1/servers/([^/]+)", "delete_server"),
    (r"POST /compute/v2.1/servers/([^/]+)/action", "act"),
    (r"GET /compute/v2.1/servers/([^/]+)/os-instance-actions", "list_actions"),
)  # fmt: skip


UNASKED = ("identity", "token", "image_versions", "compute_versions")
"""What needs no token."""


def _body(kind: Any, **attributes: Any) -> dict[str, Any]:
    """A resource as its service would send it; the SDK's fake fills in what is not given."""
    made = generate_fake_resource(kind, **attributes).to_dict(computed=False, original_names=True)
    return json.loads(json.dumps(made, default=str))


@contextmanager
def served() -> Iterator[Cloud]:
    """A cloud that answers on loopback."""
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            return

        def handle_one(self) -> None:
            token = self.headers.get("X-Auth-Token", "")
            status, body = cloud.answer(self.command, self.path, self._received(), token)
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Subject-Token", cloud.token)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def _received(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = b""
            while length := int(self.rfile.readline(), 16):
                data += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return data

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield cloud
        server.shutdown()
