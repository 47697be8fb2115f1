"""BigQuery's emulator in an environment of its own, and the token endpoint in front of it."""
