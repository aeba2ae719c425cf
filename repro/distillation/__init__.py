"""Distil a student (sections 3 and 6): SFT, GKD-FKL (off-policy) or GKD-RKL (on-policy).

`repro.distillation.distill` runs one of them, chosen by `repro.distillation.config`, which needs no torch.
"""
