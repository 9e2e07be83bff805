"""Processes that end with the harness, limits on their time, and who tidies up after both."""
