"""Numbers: taken on guests, and kept in the history."""
