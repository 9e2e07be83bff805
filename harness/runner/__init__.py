"""Runs a program in a guest, and concludes its verdict."""
