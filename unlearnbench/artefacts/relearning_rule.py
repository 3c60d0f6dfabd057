"""The numbers that define relearning; tables print them without loading a network."""

RELEARNING = "relearning"
"""The name of the artefact kind, and of its numbers in records, where the other names are those of attacks."""
SAMPLES = 20
"""How many forgotten samples are learned again."""
STEPS = 50
"""How many steps are taken."""
OTHERS = 1000
"""How many other forgotten samples the accuracy is measured on, at most."""
BACK = 0.95
"""The share of the original's accuracy at which a network counts as knowing the others again."""
RETAIN_EPOCHS = 1
"""For how many epochs the network is also trained on the retain set alone, apart from these steps."""
