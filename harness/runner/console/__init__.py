"""The serial line: raw bytes kept as they came, whole lines matched against the kernel's patterns."""
