"""Adds the server's own style and script to the static page, and extends its content security policy."""

import base64
import hashlib
import html
import re
from pathlib import Path

from harness.core.errors import HarnessError

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
STATIC = Path(__file__).with_name("static")
_DIGEST = base64.b64encode(hashlib.sha256((STATIC / "serve.js").read_bytes()).digest()).decode()
SCRIPT = f'<script src="static/serve.js" integrity="sha256-{_DIGEST}" defer></script>'
ADDED = f'<link rel="stylesheet" href="static/serve.css">{SCRIPT}</head>'
EXTRA_SOURCES = {
    "script-src": f"'self' 'sha256-{_DIGEST}'", "style-src": "'self'", "connect-src": "'self'",
    "form-action": "'self'", "frame-ancestors": "'none'",
}  # fmt: skip
"""What the server's own files need besides the page's policy. The script is also allowed by its digest, because
'strict-dynamic' ignores addresses; `frame-ancestors` can't be set in a page."""


def with_server_assets(page: str) -> tuple[str, str]:
    """The page without its policy, and the policy to send with it. Raises `HarnessError` if it has none."""
    found = POLICY.search(page)
    if not found or page.find("</head>") < found.end():
        raise HarnessError("The page has no policy, or no head.", "This is a fault of the harness: report it.")
    without_policy = page[: found.start()] + page[found.end() :]
    return without_policy.replace("</head>", ADDED, 1), _extended_policy(html.unescape(found[1]))


def _extended_policy(policy: str) -> str:
    """The policy, extended by what comes from this server."""
    rows = [part.split() for part in policy.split(";") if part.strip()]
    directives = {name: [one for one in values if one != "'none'"] for name, *values in rows}
    for name, value in EXTRA_SOURCES.items():
        directives[name] = [*directives.get(name, []), value]
    return "; ".join(" ".join([name, *(values or ["'none'"])]) for name, values in directives.items())
