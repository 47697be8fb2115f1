"""What a request finds in the store: the connection that its path names, its secrets, its verdicts."""
