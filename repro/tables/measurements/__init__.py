"""Measurements: turn the artifacts of stages into measured tables."""
