"""The machine and its files: no part of the method."""
