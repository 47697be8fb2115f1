"""OpenBao, with a transit engine."""
