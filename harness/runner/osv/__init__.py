"""Programs on OSv, and what is looked at where they die."""
