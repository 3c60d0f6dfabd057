"""The suite's own networks."""
