"""A real MariaDB."""
