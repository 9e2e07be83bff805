"""The serial line: raw bytes are kept unchanged, complete lines are matched against the kernel's patterns."""
