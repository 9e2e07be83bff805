"""pytest's options of the harness, which are there wherever it is installed.

By pyproject.toml's entry point pytest loads this module in every run of every project beside it. So it imports
next to nothing, and loads the plugin itself only where a run asks for cells.
"""

from pathlib import Path

import pytest

from harness.core.procedure import DURATION

PLUGIN = "harness.integrations.pytest_plugin.plugin"
ASKING = ("cell", "cell_set", "variant", "launch", "kernel_file")
"""The options of which any one asks for cells."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("osv-harness", "OSv test harness")
    group.addoption("--cell", action="append", default=[], metavar="CELL", help="a cell to test (repeatable)")
    group.addoption("--variant", action="append", default=[], metavar="NAME", help="a machine's (repeatable)")
    group.addoption("--launch", action="append", default=[], metavar="MODE", help="of programs (repeatable)")
    group.addoption("--set", dest="cell_set", metavar="NAME", help="a named set of cells of matrix.toml")
    group.addoption("--osv-root", type=Path, metavar="DIR", help="an OSv checkout (default: OSV_ROOT)")
    group.addoption("--project", type=Path, metavar="DIR", help="with your own expectations.toml, apps/ …")
    group.addoption("--kernel-file", type=Path, metavar="FILE", help="a kernel that is already built")
    group.addoption("--image-file", type=Path, metavar="FILE", help="its disk: raw or qcow2")
    group.addoption("--cmdline", metavar="WORDS", help="its command line (default: the file cmdline beside it)")
    group.addoption("--manifest", type=Path, metavar="FILE", help="its files (default: usr.manifest beside it)")
    group.addoption("--duration", type=float, default=DURATION, metavar="SECONDS", help="of each load of an app")
    group.addoption("--history", metavar="URL", help="where verdicts and measurements are kept (default: yours)")
    group.addoption("--forget", action="store_true", help="keep no verdicts")
    group.addoption("--fork", action="store_true", help="run OSv's tests in forks of a booted guest")
    group.addoption("--reuse", action="store_true", help="run nothing that the history has a verdict of")
    group.addoption(
        "--reuse-check", default=0.05, type=share, metavar="PERCENT", help="of it that is run all the same (5%%)"
    )
    group.addoption("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where evidence is kept")


def share(text: str) -> float:
    """The number of a share in percent. Raises `ValueError`, which pytest shows as a usage error."""
    percent = float(text.removesuffix("%"))
    if not 0 <= percent <= 100:
        raise ValueError(text)
    return percent / 100


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin, with its fixtures, where cells are asked for."""
    if any(config.getoption(name) for name in ASKING):
        config.pluginmanager.import_plugin(PLUGIN)
