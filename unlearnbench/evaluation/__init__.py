"""From outputs to the numbers of a record."""
