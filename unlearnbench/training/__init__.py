"""Recipes, samples, and the one training loop."""
