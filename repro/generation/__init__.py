"""Generation: sample completions with transformers or vLLM, and store them as rollouts."""
