"""What cells share, or what is costly: the key of each artefact, what it needs, and how it is made."""
