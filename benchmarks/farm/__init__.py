"""A farm of hundreds of workers on one host, whose tasks only wait."""
