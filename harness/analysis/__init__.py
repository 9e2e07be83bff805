"""Numbers judged: steps in series, A against B, and bisections."""
