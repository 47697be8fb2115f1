"""A MongoDB server, and hostile ones."""
