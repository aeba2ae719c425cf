"""Measure the traps for a student and a teacher, on completions of both (sections 3 and 4)."""
