"""A/B tests: two kernels measured in pairs, in random order."""
