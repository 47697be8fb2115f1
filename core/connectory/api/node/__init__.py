"""What a running service consists of, and what it does beside the requests."""
