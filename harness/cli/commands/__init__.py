"""The commands of `osv-harness`: one module each, with a docstring and a click `command`."""
