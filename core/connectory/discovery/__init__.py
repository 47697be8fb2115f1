"""Discovery: what a connection holds, as datasets of the Fides language. Plain computing, which knows no database and no HTTP."""
