"""Nights that run by themselves: what is to be run, what came of it, its issues, and the workflows that do it."""
