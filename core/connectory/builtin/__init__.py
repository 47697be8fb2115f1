"""Connectors that core itself registers, the way any plugin does."""
