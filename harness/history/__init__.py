"""Everything that was ever measured or judged, kept for ever: `harness.history.store.History`."""
