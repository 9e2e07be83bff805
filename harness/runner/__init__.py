"""Runs a program in a guest, and decides its verdict."""
