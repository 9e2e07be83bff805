"""Bisection of OSv's commits by a metric or a test, with a probability for each commit."""
