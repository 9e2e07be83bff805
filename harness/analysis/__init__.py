"""Numbers judged: steps in series, A against B, and bisections."""

import os

# Our matrices are small: OpenBLAS's threads, which wait by spinning, cost more than they give.
# Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
