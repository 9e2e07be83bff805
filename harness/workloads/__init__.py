"""What runs in guests besides OSv's in-guest tests: apps, loads, and tests that OSv runs from its host."""
