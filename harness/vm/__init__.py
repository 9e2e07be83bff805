"""How a machine becomes a running VM: a package for each hypervisor, and what they share."""
