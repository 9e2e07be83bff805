"""QEMU, with a full machine and as microvm."""
