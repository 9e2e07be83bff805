"""Hyper-V."""
