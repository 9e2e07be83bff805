"""Puts load on a server by locust."""
