"""Resources of a training run; they are not part of the stage's identity."""

from dataclasses import dataclass
from pathlib import Path

from repro.generation.server import ServerPlacement


@dataclass(frozen=True)
class TrainingResources:
    """Resources of a training run.

    Attributes:
        micro_batch: completions that one device takes at once; None for all of its share. Does not change the result.
        checkpoint_every: optimiser steps between checkpoints; 0 for none by steps.
        checkpoint_minutes: minutes between checkpoints; 0 for none by time.
        shard: shard trained and frozen models over the processes of this run. Does not change the result.
        tracker: where figures are logged while training runs (`repro.training.tracking`); "" for nowhere. Does not change the
            result.
        event_files: folder of TensorBoard's files.
        server: where a vLLM server samples the completions; None for the processes of this run. It samples different
            completions from the same distribution.
    """

    micro_batch: int | None = None
    checkpoint_every: int = 0
    checkpoint_minutes: float = 0.0
    shard: bool = False
    tracker: str = ""
    event_files: Path | None = None
    server: ServerPlacement | None = None
