"""Disks and folders in the forms that hypervisors take."""
