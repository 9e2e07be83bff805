"""pytest's option `--lab`: runs the whole session in a lab, as `osv-harness lab` runs a command."""

import pytest

from harness.core.errors import HarnessError


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("osv-harness", "OSv test harness")
    group.addoption("--lab", action="store_true", help="run all of it in a VM whose KVM runs guests")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Run the session in a lab if the option is given."""
    if not config.getoption("--lab"):
        return None
    # Other sessions need not import what makes a lab.
    from harness.cli.commands.lab import run_pytest

    words = [word for word in config.invocation_params.args if word != "--lab"]
    try:
        return run_pytest(words, config.getoption("--osv-root"))
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
