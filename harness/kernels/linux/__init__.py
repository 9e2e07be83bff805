"""Debian's cloud kernel."""
