"""Test a connection, follow the test, and keep how it ended."""
