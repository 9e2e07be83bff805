"""Values that all packages share: cells, the matrix, machines, errors, events."""
