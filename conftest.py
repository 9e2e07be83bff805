"""Loads the harness's pytest plugin."""

pytest_plugins = ["harness.pytest_plugin"]
