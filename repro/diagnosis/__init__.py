"""The traps of one student and one teacher, measured on completions of both (sections 3 and 4)."""
