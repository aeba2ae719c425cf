"""Planning: the hours, memory and GPUs that a study will need, before it runs."""
