"""Runs programs on OSv, and examines guests that died."""
