"""Nightly runs in CI: their plan, their results, their issues, and the workflows that run them."""
