"""What guests are given to do: apps, loads on them, and the tests that OSv drives from the host."""
