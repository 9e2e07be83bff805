"""The test and regression harness for the OSv unikernel. What of it is public stands in pyproject.toml."""

__version__ = "0.1.0"
