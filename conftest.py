"""Loads the harness's pytest plugins."""

pytest_plugins = ["harness.integrations.pytest_plugin.plugin", "harness.cli.pytest_lab"]
