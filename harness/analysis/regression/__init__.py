"""Steps in the series of a history."""
