"""Calibrate a teacher (section 5): the reward (Eq 10, 11), the advantages, and the trainer (Algorithm 1).

The two formulas are exported here; the trainer is in `repro.calibration.trainer`. Nothing is imported before it is
used, so that a recipe can read `repro.calibration.config` without torch.
"""

import importlib
from typing import Any

_HOMES = {
    "calibration_reward": "repro.calibration.reward",
    "group_advantages": "repro.calibration.advantages",
    "CalibrationConfig": "repro.calibration.config",
}

__all__ = ["CalibrationConfig", "calibration_reward", "group_advantages"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
