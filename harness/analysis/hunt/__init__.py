"""Runs of counted guests, each by a seed that decides all that may differ between two of them."""
