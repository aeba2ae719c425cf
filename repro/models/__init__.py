"""Load models and tokenizers by name, and identify them."""
