"""The data model that all reports share."""
