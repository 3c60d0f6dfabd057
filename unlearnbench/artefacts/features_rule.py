"""The numbers that define embeddings; reports print them without loading a network."""

FEATURES = "features"
"""The name of the artefact kind, and of its numbers in records, where the other names are those of attacks."""
SAMPLES = 1000
"""How many training samples are embedded, at most."""
FORGOTTEN = 300
"""How many of them are forgotten ones, at most."""
NEIGHBOURS = 10
"""How many nearest neighbours the purity looks at."""
RIDGE = 1.0
"""The penalty of the linear probe."""
