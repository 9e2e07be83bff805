"""What all reports show."""
