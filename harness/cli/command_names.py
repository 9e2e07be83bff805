"""The names of the commands."""

COMMANDS = (
    "doctor", "matrix", "build", "boot", "tests", "test", "app", "hunt", "replay", "perf", "compare",
    "findings", "bisect", "report", "serve", "history", "ci", "farm", "cache", "lab",
)  # fmt: skip
"""In the order in which people meet them. Each is imported when it is wanted: statistics take a second to load."""

OF_KERNELS = frozenset(COMMANDS) - {"findings", "report", "serve", "history", "ci", "farm", "cache"}
"""Those that look at an OSv checkout where one is named."""
