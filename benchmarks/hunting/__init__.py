"""Planted races: how often plain runs lose them, how many seeds a hunt wants, and whether a seed is always one
run."""
