"""Resampling and decisions."""
