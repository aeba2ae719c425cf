"""Verdicts: a measured table against the printed numbers and the claims of the paper."""
