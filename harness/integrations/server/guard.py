"""Checks every request first: the host that it names, the user, and whether it may change anything.

The server has no accounts. It listens on loopback, or behind a proxy that may pass a user's name in a header.
Against other sites' pages in a person's browser it checks `Host` (DNS rebinding), `Origin`, `Sec-Fetch-Site` and a
token that only its own pages can read (cross-site request forgery). Source: OWASP, Cross-Site Request Forgery
Prevention Cheat Sheet.
"""

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harness.core.errors import HarnessError
from harness.integrations.server.models import Problem
from harness.integrations.server.problems import respond

SAFE = ("GET", "HEAD", "OPTIONS")
LONGEST_NAME = 100
LARGEST_BODY = 1 << 16  # bytes
HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
TOKEN = "X-CSRF-Token"

POLICY = "; ".join(
    [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
        "img-src 'self' data:", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    ]
)  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin", "cache-control": "no-store",
}  # fmt: skip
"""Headers of every response that does not set them itself."""


@dataclass(frozen=True)
class Rules:
    """`urls` are the addresses that people use, if a proxy has others. `user_header` is the header with the user's
    name, or empty."""

    urls: tuple[str, ...] = ()
    user_header: str = ""
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        """Raises `HarnessError` for an invalid URL or header name."""
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise HarnessError(f"{url!r} is no address of a page.", "Write it so: https://osv.example.org/")
        if self.user_header and not HEADER.fullmatch(self.user_header):
            raise HarnessError(f"{self.user_header!r} is no header's name.", "Write it so: X-Forwarded-User")

    def token(self, user: str) -> str:
        """The token that our pages send with a changing request; it differs between users and between servers."""
        return hmac.new(self._secret, user.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def is_ours(self, host: str) -> bool:
        """Whether a `Host` names this server: an IP address, which DNS rebinding can't use, or a known name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in {urlsplit(url).hostname for url in self.urls}:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def is_our_origin(self, origin: str, host: str) -> bool:
        """Whether a page from this origin belongs to this server."""
        known = {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, self.urls)}
        return origin in known or origin in (f"http://{host}", f"https://{host}")


class Guard:
    """The application behind the rules; each request that passes has `state["user"]`."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    there.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        problem = self._about_host(headers) or self._about_user(headers) or _about_size(headers)
        if problem is None:
            user = _name(headers.get(self._rules.user_header, "")) if self._rules.user_header else ""
            scope.setdefault("state", {})["user"] = user
            problem = None if scope["method"] in SAFE else self._about_change(headers, user)
        if problem:
            await respond(scope, problem)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _about_host(self, headers: Headers) -> Problem | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return Problem(title="The request names no host, or several.", status=400)
        if not self._rules.is_ours(hosts[0]):
            return Problem(
                title="This server is not known by that name.", status=421,
                detail="Whoever runs it names what people call it: osv-harness serve --url https://NAME/",
            )  # fmt: skip
        return None

    def _about_user(self, headers: Headers) -> Problem | None:
        names = headers.getlist(self._rules.user_header) if self._rules.user_header else []
        name = _name(names[0]) if names else ""
        if len(names) > 1 or len(name) > LONGEST_NAME or not name.isprintable():
            detail = f"The proxy has to set {self._rules.user_header} once, and take away what clients send."
            return Problem(title="The user's name can't be told.", status=400, detail=detail)
        return None

    def _about_change(self, headers: Headers, user: str) -> Problem | None:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (
            origin is not None and not self._rules.is_our_origin(origin, headers["host"])
        ):
            return Problem(
                title="A page of another site asked for this.", status=403,
                detail="If it was this server's own page, name its address: osv-harness serve --url https://NAME/",
            )  # fmt: skip
        if self._rules.user_header and not user:
            detail = f"The proxy gives it in {self._rules.user_header}: log in there."
            return Problem(title="Nobody's name came with this.", status=403, detail=detail)
        given = headers.get(TOKEN, "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._rules.token(user).encode()):
            detail = f"Send what api/session gives as token in the header {TOKEN}."
            return Problem(title="The request has no token of this server's.", status=403, detail=detail)
        return None


def _name(value: str) -> str:
    """The name in a header's value: UTF-8 if it is not ASCII."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace").strip()


def _about_size(headers: Headers) -> Problem | None:
    """Check a body whose length is given; FastAPI itself cuts off a body without one."""
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > LARGEST_BODY:
        detail = f"{LARGEST_BODY >> 10} KiB are enough for any."
        return Problem(title="The request's body is too large.", status=413, detail=detail)
    return None
