"""The kit's distillation losses: each answers a trap, and says which. Imports no torch before a loss is computed."""
