"""Runs deterministic guests, each with a seed that decides everything in which two runs may differ."""
