"""Apps: real programs in guests."""
