"""The suite's own attacks."""
