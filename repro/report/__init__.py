"""A result as a page."""
