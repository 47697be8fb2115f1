"""The service's half of secrets: validating what was sent, merging and masking documents, and their JSON Schema."""
