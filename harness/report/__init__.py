"""Results for people and for other programs; nothing is decided here."""

import harness.analysis  # noqa: F401 (before numpy, which plots import, for what it sets)
