"""Snowflake's emulator in an environment of its own."""
