"""Reproducibility kit for "Distillation Traps and Guards: A Calibration Knob for LLM Distillability"."""

__version__ = "0.1.0"
