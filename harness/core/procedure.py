"""The defaults of how numbers are measured."""

DURATION = 5.0
"""Seconds of each load of an app: under pytest, in `perf`, `compare` and `bisect`, and on a farm.

Loads of another duration form another series.
"""
