"""From stage results to measured tables."""
