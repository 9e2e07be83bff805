"""VirtualBox."""
