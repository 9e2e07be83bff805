"""pytest's `--lab`: runs the whole session in a lab, as `osv-harness lab` runs a command."""

import pytest

from harness.core.errors import HarnessError


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("osv-harness", "OSv test harness")
    group.addoption("--lab", action="store_true", help="run all of it in a VM whose KVM runs guests")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Hand the whole session to one in a lab, where that is asked for."""
    if not config.getoption("--lab"):
        return None
    # What makes a lab is nothing that other sessions should have to import.
    from harness.cli.commands.lab import run_pytest

    words = [word for word in config.invocation_params.args if word != "--lab"]
    try:
        return run_pytest(words, config.getoption("--osv-root"))
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
