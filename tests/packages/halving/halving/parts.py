"""What the plugins share."""

HALF = 0.5
