"""The harness as a pytest plugin."""
