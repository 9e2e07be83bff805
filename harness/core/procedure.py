"""How numbers are taken where nobody says otherwise, whoever takes them."""

DURATION = 5.0
"""Seconds of each load of an app: under pytest, in `perf`, `compare` and `bisect`, and on a farm.

What was measured for another time is another series."""
