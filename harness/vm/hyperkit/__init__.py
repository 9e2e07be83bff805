"""HyperKit."""
