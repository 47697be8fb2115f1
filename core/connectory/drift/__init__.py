"""Datasets beside what is really there: what no longer fits, what is new, what may be personal, and what the account may do."""
