"""Makes every cell's name a tox environment. Whether there is such a cell is for the harness to say, not for tox.

tox loads this file by its name. It knows nothing of the matrix: a name that tox.ini has no section for is taken as
a cell's, so that a wrong one ends with the harness's nearest matches.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from tox.config.sets import EnvConfigSet
from tox.plugin import impl
from tox.report import HandledError
from tox.session.state import State
from tox.tox_env.api import ToxEnv

# Progress goes to standard error, which tox would show in red, as if something were wrong.
os.environ.setdefault("TOX_STDERR_COLOR", "RESET")

SUITES = {"apps": "tests/apps", "perf": "tests/perf"}
"""What a suffix of an environment's name runs; without one it is tests/unit."""


def wrong_checkout(named: str) -> str:
    """What is wrong with OSV_ROOT, which is to be known before minutes of installing; nothing if it is right."""
    root = Path(named).expanduser()
    if named and not root.is_dir():
        return f"There is no OSv checkout at {root.absolute()}. OSV_ROOT names it: correct it, or unset it."
    if named and not (root / "scripts/build").is_file():
        return f"{root.absolute()}, which OSV_ROOT names, is no OSv checkout: it has no scripts/build."
    return ""


# Optional, so that an older tox, which does not know this hook, still gets so far as to provision a newer one.
@impl(optionalhook=True)
def tox_extend_envs() -> Iterable[str]:
    """Whatever was asked for is an environment."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-e", dest="env", default=os.environ.get("TOX_ENV", os.environ.get("TOXENV", "")))
    if wrong := wrong_checkout(os.environ.get("OSV_ROOT", "")):
        raise HandledError(wrong)
    asked = parser.parse_known_args()[0].env
    names = [name for name in asked.replace(",", " ").split() if name != "ALL"]
    for name in names:
        if not name.replace("-", "").replace(".", "").isidentifier():
            cure = "write options with -, as in qemu-rofs-hide_symbols, and no kernel"
            raise HandledError(f"tox can't have an environment named {name!r}: {cure}.")
    return names


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    """Give tox.ini `{cell}` and `{cell_tests}`, from the environment's name."""
    cell, _, suite = env_conf.name.rpartition("-")
    if suite not in SUITES:
        cell, suite = env_conf.name, ""
    env_conf.add_constant("cell", "the cell whose name this environment bears", cell)
    env_conf.add_constant("cell_tests", "the folder of its tests", SUITES.get(suite, "tests/unit"))


@impl
def tox_before_run_commands(tox_env: ToxEnv) -> None:
    """Say first which kernel is under test."""
    if tox_env.conf["description"] == "a cell's tests":
        root = os.environ.get("OSV_ROOT")
        kernel = f"osv, from OSV_ROOT={root}" if root else "linux, for OSV_ROOT names no OSv checkout"
        print(f"{tox_env.conf.name}: the kernel is {kernel}", flush=True)
