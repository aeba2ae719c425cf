"""Planning: the hours, memory and GPUs a study will need, before it runs."""
