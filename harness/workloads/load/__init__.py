"""Puts load on a server, by generators in separate processes."""
