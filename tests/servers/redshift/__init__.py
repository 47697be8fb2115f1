"""Redshift's login in front of a real PostgreSQL, and hostile variants."""
