"""Loads the harness's pytest plugin."""

pytest_plugins = ["harness.integrations.pytest_plugin.plugin"]
