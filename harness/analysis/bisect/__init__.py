"""Which commit changed a measure, and how sure that is."""
