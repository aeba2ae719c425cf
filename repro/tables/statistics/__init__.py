"""Resampling and three-valued decisions."""
