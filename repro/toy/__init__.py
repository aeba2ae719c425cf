"""The embedded world: seven toy tasks, two tokenizers and tiny real transformers that need no download."""
