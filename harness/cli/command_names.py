"""The names of the commands."""

COMMANDS = (
    "doctor", "matrix", "build", "boot", "tests", "test", "app", "conform", "hunt", "replay", "perf", "compare",
    "findings", "bisect", "report", "serve", "history", "ci", "farm", "cache", "lab",
)  # fmt: skip
"""In the order in which users meet them. Each is imported only when it runs: statistics take a second to load."""

OF_KERNELS = frozenset(COMMANDS) - {"findings", "report", "serve", "history", "ci", "farm", "cache"}
"""The commands that check an OSv checkout if one is named."""
