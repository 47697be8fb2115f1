"""Which connectors are installed: discovery without import, loading, verification, conflicts, lookup."""
