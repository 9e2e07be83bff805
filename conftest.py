"""Loads the harness's pytest plugins, all of them: here tests want its fixtures also where no cell is named.

An installed harness has brought two of them by the entry points of pyproject.toml, under these very names.
"""

import pytest

from harness.runner.session import Session

pytest_plugins = [
    "harness.integrations.pytest_plugin.options",
    "harness.cli.pytest_lab",
    "harness.integrations.pytest_plugin.plugin",
]


@pytest.fixture(scope="session")
def session(harness_session: Session) -> Session:
    """The harness's session, by a shorter name."""
    return harness_session
