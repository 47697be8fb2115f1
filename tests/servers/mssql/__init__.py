"""SQL Server: a stand-in that speaks TDS, what its drivers need, and hostile variants of it."""
