"""OSv's tests that run outside of the guest, against a guest of this harness."""
