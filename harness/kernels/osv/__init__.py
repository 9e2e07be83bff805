"""OSv, built from a checkout."""
