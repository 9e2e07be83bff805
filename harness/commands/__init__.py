"""The commands of `osv-harness`: a module each, with a docstring, `add_arguments(parser)` and `run(arguments)`."""

from types import ModuleType

from harness.commands import app, boot, build, cache, compare, doctor, history, matrix, perf, report, test

COMMANDS: dict[str, ModuleType] = {
    "doctor": doctor,
    "matrix": matrix,
    "build": build,
    "boot": boot,
    "test": test,
    "app": app,
    "perf": perf,
    "compare": compare,
    "report": report,
    "history": history,
    "cache": cache,
}
