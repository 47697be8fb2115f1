"""A real PostgreSQL, and TLS in front of it."""
