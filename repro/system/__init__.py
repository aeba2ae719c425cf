"""The machine and its files; not part of the method."""
