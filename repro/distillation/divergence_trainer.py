"""TRL's DistillationTrainer as both GKD losses use it."""

from typing import Any

from trl import DistillationTrainer

from repro.distillation.divergence_layer import keep_both_logits
from repro.training.buckets import BucketedSteps, TokenMeans
from repro.training.prompts import RenderedPrompts
from repro.training.sampling import SamplesByDecoding


class DivergenceTrainer(RenderedPrompts, SamplesByDecoding, BucketedSteps, TokenMeans, DistillationTrainer):
    """TRL's DistillationTrainer, its loss in the precision of the other trainers: bfloat16 products on a GPU.

    accelerate puts autocast around the model's `forward`. TRL's loss replaces that method to call the backbone itself, so
    without this a student in float32 would be computed in float32: attention without its fast kernels, 2.4 GiB more
    for 2 sequences of 715 tokens of Qwen3-0.6B. TRL's asynchronous trainer enters autocast likewise.
    """

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.accelerator.autocast(), keep_both_logits():
            return super().compute_loss(*args, **kwargs)
