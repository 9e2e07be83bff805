"""Everything that was ever measured or judged, kept for ever: `harness.metrics.history.store.History`."""
