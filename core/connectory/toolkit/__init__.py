"""What a connector needs when its driver does not do it."""
