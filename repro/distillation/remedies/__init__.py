"""The kit's distillation losses; each addresses a trap and says which. torch is imported only to compute a loss."""
