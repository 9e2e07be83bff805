"""The release of a load generator: another one may send requests in another way."""

import re
import subprocess
from functools import cache
from importlib.metadata import version

VERSION_PATTERNS = {"wrk": r"wrk (?:debian/)?([\w.+-]+)", "redis-benchmark": r"redis-benchmark ([\w.]+)"}
"""Tools that answer `--version`, and the pattern of the release in their answer."""


@cache
def tool_version(tool: str) -> str:
    """The tool with its release: `wrk 4.1.0-3+b2`; only the tool if it gives none."""
    if tool not in VERSION_PATTERNS:
        return f"{tool} {version(tool)}"
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return tool
    found = re.search(VERSION_PATTERNS[tool], done.stdout + done.stderr)
    return f"{tool} {found[1]}" if found else tool
