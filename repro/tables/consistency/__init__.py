"""Consistency checks of the paper's own numbers."""
