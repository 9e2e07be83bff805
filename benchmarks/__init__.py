"""What the harness costs and gains, each as a ratio of two things measured in one run: `python -m benchmarks`."""

import harness  # noqa: F401  (before numpy, whose threads it sets)
