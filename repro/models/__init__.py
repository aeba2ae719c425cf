"""From a name to a model, its tokenizer and its identity."""
