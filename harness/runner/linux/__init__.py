"""Programs on Linux."""
