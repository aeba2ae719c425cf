"""Parts shared by all trainers: prompt order, micro-batches, kill-safe checkpoints, history, vLLM."""
