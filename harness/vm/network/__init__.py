"""A guest's network, in a namespace of its own."""
