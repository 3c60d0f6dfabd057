"""Records to tables, ranks and charts, without loading a network."""
