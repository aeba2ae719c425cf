"""TRL's DistillationTrainer, set up for both GKD losses."""

from typing import Any

import torch
from trl import DistillationTrainer

from repro.distillation.divergence_layer import keep_both_logits
from repro.distillation.loss import Loss
from repro.distillation.loss_layer import Head, Step, compute_with
from repro.training.buckets import BucketedSteps, TokenMeans
from repro.training.prompts import RenderedPrompts
from repro.training.sampling import SamplesByDecoding


class DivergenceTrainer(RenderedPrompts, SamplesByDecoding, BucketedSteps, TokenMeans, DistillationTrainer):
    """TRL's DistillationTrainer with its loss in the precision of the other trainers: bfloat16 matmuls on a GPU.

    accelerate wraps the model's `forward` in autocast. TRL's loss bypasses that method and calls the backbone directly,
    so a float32 student would run in float32: attention without its fast kernels, 2.4 GiB more for 2 sequences of 715
    tokens of Qwen3-0.6B. TRL's asynchronous trainer enters autocast in the same way.

    Args:
        loss: replaces TRL's divergence; None to keep it.
        reference_model: the student before training, if the loss reads it.
        kwargs: arguments of DistillationTrainer.
    """

    def __init__(self, *, loss: Loss | None = None, reference_model: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loss, self.reference_model = loss, reference_model
        if reference_model is not None:
            self.reference_model = self.accelerator.prepare_model(reference_model, evaluation_mode=True)

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.accelerator.autocast(), keep_both_logits():
            return super().compute_loss(*args, **kwargs)

    def _compute_loss(self, unwrapped_student: Any, inputs: dict[str, Any], *args: Any) -> Any:
        if self.loss is None:
            return super()._compute_loss(unwrapped_student, inputs, *args)
        step = Step(
            self.loss,
            mask=inputs["completion_mask"].bool(),
            ids=inputs["completion_ids"],
            rewards=inputs.get("rewards"),
            reference=None if self.reference_model is None else self._reference_head(inputs),
        )
        with compute_with(step):
            return super()._compute_loss(unwrapped_student, inputs, *args)

    def _reference_head(self, inputs: dict[str, Any]) -> Head:
        """Return the reference model's hidden states and output layer, computed as TRL computes the teacher's."""
        ids, mask = (
            torch.cat([inputs[f"{part}_{name}"] for part in ("prompt", "completion")], 1) for name in ("ids", "mask")
        )
        reference = self.accelerator.unwrap_model(self.reference_model.eval())
        arguments = reference, ids, mask, inputs["completion_ids"].shape[1]
        with torch.no_grad():
            hidden = self._forward_redirection(self.reference_model, reference, self._get_last_hidden_state, *arguments)
        layer = reference.get_output_embeddings()
        weight, bias = (
            value.full_tensor() if isinstance(value, torch.distributed.tensor.DTensor) else value
            for value in (layer.weight, layer.bias)
        )
        return Head(hidden.reshape(-1, hidden.shape[-1]), weight, bias)
