"""Datasets: given, discovered, and checked against what is there."""
