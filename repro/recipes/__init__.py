"""Recipes: the studies as rows of stages, their settings, and the ASSUMED values."""
