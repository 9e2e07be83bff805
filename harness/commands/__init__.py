"""The commands of `osv-harness`: a module each, with a docstring, `add_arguments(parser)` and `run(arguments)`."""

from types import ModuleType

from harness.commands import cache, doctor, matrix

COMMANDS: dict[str, ModuleType] = {"doctor": doctor, "matrix": matrix, "cache": cache}
