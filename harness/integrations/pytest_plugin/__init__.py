"""The harness in pytest."""
