"""Sections 3 and 6: a student learns from a teacher by SFT, GKD-FKL (off-policy) or GKD-RKL (on-policy).

`repro.distillation.distill` runs one of them; `repro.distillation.config` says which and needs no torch.
"""
