"""What drivers of several hypervisors share."""
