"""The static page, as this server serves it: with a style and a script of ours beside its own."""

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
ALSO = {
    "script-src": f"'self' 'sha256-{_DIGEST}'", "style-src": "'self'", "connect-src": "'self'",
    "form-action": "'self'", "frame-ancestors": "'none'",
}  # fmt: skip
"""What the server's own files need beside what the page lets in. The script is let in by its digest, too, for a
page with 'strict-dynamic' heeds no address; the last can't be said in a page."""


def decorated(page: str) -> tuple[str, str]:
    """The page without its policy, and the policy to send it with. Raises `HarnessError` if it has none."""
    found = POLICY.search(page)
    if not found or page.find("</head>") < found.end():
        raise HarnessError("The page has no policy, or no head.", "This is a fault of the harness: report it.")
    bare = page[: found.start()] + page[found.end() :]
    return bare.replace("</head>", ADDED, 1), _wider(html.unescape(found[1]))


def _wider(policy: str) -> str:
    """The policy that lets in what it did, and what comes from this server."""
    rows = [part.split() for part in policy.split(";") if part.strip()]
    directives = {name: [one for one in values if one != "'none'"] for name, *values in rows}
    for name, value in ALSO.items():
        directives[name] = [*directives.get(name, []), value]
    return "; ".join(" ".join([name, *(values or ["'none'"])]) for name, values in directives.items())
