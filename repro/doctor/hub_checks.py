"""Check access to everything a study reads from the hub; without a network, later checks do not wait for it."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from repro.doctor.finding import Finding, fail, good, warn
from repro.stages import Stage
from repro.stages.pins import hub_inputs
from repro.system.hub_access import ask_access, is_offline


def check_access(stages: Sequence[Stage]) -> Iterator[Finding]:
    """Ask the hub once for every model (reward models and judges included) and data set of the stages."""
    hub_ids = {name: kind for name, kind in hub_inputs(stages).items() if kind != "github"}
    if not hub_ids:
        return
    if is_offline():
        yield warn(
            "hub",
            f"HF_HUB_OFFLINE is set, so access to {len(hub_ids)} repositories was not checked; those not in the local cache cannot be downloaded",
        )
        return
    answers = ask_access(hub_ids)  # type: ignore[arg-type]
    if all(answer.is_down for answer in answers.values()):
        reason = next(iter(answers.values())).unknown
        yield warn(
            "hub",
            f"{reason}, so access to {len(hub_ids)} repositories was not checked; those not in the local cache cannot be downloaded",
        )
        return
    for name, answer in answers.items():
        if answer.problem:
            yield fail(f"access to {name}", answer.problem)
        elif answer.unknown:
            yield warn(f"access to {name}", answer.unknown)
        else:
            yield good(f"access to {name}", "granted")


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep the hub's client libraries off the network, where they would retry for minutes."""
    from huggingface_hub import constants

    before = os.environ.get("HF_HUB_OFFLINE"), constants.HF_HUB_OFFLINE
    datasets = sys.modules.get("datasets")  # reads the variable on import
    if datasets is not None:
        datasets.config.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"], constants.HF_HUB_OFFLINE = "1", True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[1]
        if datasets is not None:
            datasets.config.HF_HUB_OFFLINE = before[1]
        os.environ.pop("HF_HUB_OFFLINE") if before[0] is None else os.environ.update(HF_HUB_OFFLINE=before[0])
