"""What a study will need before it runs: hours, memory, GPUs."""
