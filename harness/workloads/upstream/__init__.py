"""Tests that OSv ships beside its in-guest ones, run here against a guest."""
