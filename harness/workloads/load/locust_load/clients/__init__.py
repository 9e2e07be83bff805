"""The protocols of locust's users, a module each, in locust's processes only."""
