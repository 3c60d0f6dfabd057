"""Computes the numbers of a record from outputs."""
