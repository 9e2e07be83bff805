"""The harness in other programs: pytest, CI servers, a farm of machines, a lab with a KVM of its own."""
