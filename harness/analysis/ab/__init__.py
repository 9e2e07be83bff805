"""A against B."""
