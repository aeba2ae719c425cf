"""Verdicts: a measured table against what the paper printed and claims."""
