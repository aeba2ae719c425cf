"""Advantages of Algorithm 1: each reward's z-score inside its prompt's group, then their sum with eta.

Plain arithmetic that numpy arrays and torch tensors share; shapes in names: n completions, P prompts, G
completions per prompt, n = P * G, groups consecutive.
"""

from typing import Any

STD_FLOOR = 1e-4  # TRL's: a group without variance gets advantage 0, not 0/0


def group_advantages(
    task_reward: Any, calibration_reward: Any, eta: float, group_size: int, dtype: Any | None = None
) -> Any:
    """Compute A = z(r_task) + eta * z(r_cal), nothing more (Algorithm 1, appendix D).

    Args:
        task_reward: [n] r_task(x, y).
        calibration_reward: [n] r_cal(x, y), nats (Eq 10, 11).
        eta: distillability coefficient; > 0 distillable, < 0 undistillable.
        group_size: G; groups are consecutive.
        dtype: torch type to which both z-scores are rounded before they are summed; None for no rounding.

    Returns:
        [n] float64, or `dtype`.
    """
    z_task_n, z_cal_n = group_z(task_reward, group_size), group_z(calibration_reward, group_size)
    if dtype is not None:
        z_task_n, z_cal_n = z_task_n.to(dtype), z_cal_n.to(dtype)
    return z_task_n + eta * z_cal_n


def group_z(reward_n: Any, group_size: int) -> Any:
    """Compute the z-score inside each group: (x - mean) / (std + 1e-4), std the sample standard deviation (G - 1).

    Args:
        reward_n: [n] numpy array or torch tensor.
        group_size: G, at least 2; divides n.

    Returns:
        [n] float64, the same library as the input.

    Raises:
        ValueError: n is not a multiple of G, or G < 2.
    """
    n = reward_n.shape[0]
    if group_size < 2 or n % group_size:
        raise ValueError(
            f"{n} rewards cannot be split into groups of {group_size}: the group size must be 2 or more, and divide {n}"
        )
    x_PG = _float64(reward_n).reshape(-1, group_size)
    centred_PG = x_PG - (x_PG.sum(1) / group_size)[:, None]
    std_P = ((centred_PG**2).sum(1) / (group_size - 1)) ** 0.5
    return (centred_PG / (std_P + STD_FLOOR)[:, None]).reshape(-1)


def flat_share(reward_n: Any, group_size: int) -> float:
    """Return the share of groups in which all rewards are equal, so that this reward contributes no gradient."""
    x_PG = _float64(reward_n).reshape(-1, group_size)
    flat_P = (abs(x_PG - x_PG[:, :1]) <= 1e-8).all(1)
    return float(flat_P.sum()) / flat_P.shape[0]


def _float64(x: Any) -> Any:
    # A group of equal rewards must have advantage 0; the rounding error of a float32 mean over STD_FLOOR is not 0
    return x.astype("float64") if hasattr(x, "astype") else x.double()
