"""Parts that both trainers share: order of prompts, micro-batches, checkpoints that survive a kill, history, vLLM."""
