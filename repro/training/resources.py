"""Resources of a training run; not part of the stage's identity."""

from dataclasses import dataclass
from pathlib import Path

from repro.generation.server import ServerPlacement


@dataclass(frozen=True)
class TrainingResources:
    """Resources of a training run.

    Attributes:
        micro_batch: completions per device at once; None for its whole share. Does not change the result.
        checkpoint_every: optimiser steps between checkpoints; 0 to disable.
        checkpoint_minutes: minutes between checkpoints; 0 to disable.
        shard: shard trained and frozen models over the processes of this run. Does not change the result.
        tracker: where metrics are logged during training (`repro.training.tracking`); "" for nowhere. Does not change
            the result.
        event_files: folder for TensorBoard's files.
        server: GPUs of a vLLM server that samples the completions; None to sample in the processes of this run. The
            server draws different completions from the same distribution.
    """

    micro_batch: int | None = None
    checkpoint_every: int = 0
    checkpoint_minutes: float = 0.0
    shard: bool = False
    tracker: str = ""
    event_files: Path | None = None
    server: ServerPlacement | None = None
