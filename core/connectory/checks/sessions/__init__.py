"""Data sessions: a connector's code in a process of its own, asked for one operation after another."""
