"""Load by locust."""
