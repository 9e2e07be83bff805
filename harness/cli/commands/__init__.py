"""The commands of `osv-harness`: a module each, with a docstring and a `command` of click's."""
