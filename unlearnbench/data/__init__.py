"""The suite's own data sets."""
