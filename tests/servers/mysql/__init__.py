"""MySQL 8 in front of a real MariaDB, and hostile variants of its protocol."""
