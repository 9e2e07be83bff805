"""The protocols of locust's users, one module each; imported only in locust's processes."""
