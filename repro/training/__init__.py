"""What both trainers share: order of prompts, cutting a step, checkpoints that survive a kill, history, vLLM."""
