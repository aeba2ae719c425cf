"""Last hidden states of a causal LM at the scored positions, and its output layer, for the streaming pass.

Shapes: B sequences, T positions, N tokens of the completions, H hidden size, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from repro.errors import InputError
from repro.generation.rollouts import Rollout
from repro.models.loading import load_model, load_tokenizer
from repro.models.padded_batches import padded_batches
from repro.traps import OutputHead

_PROBE = 8
_HEAD_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


class HiddenStates:
    """A model's hidden states, and the output head that maps them to logits.

    Args:
        model: folder or hub id.
        role: "student" or "teacher", for error messages.

    Raises:
        InputError: NaN logits, or an output layer with more than scale, bias and soft-capping.
    """

    def __init__(self, model: Path | str, role: str) -> None:
        self.name = f"{role} {model}"
        self.tokenizer = load_tokenizer(model)
        self._model: Any = load_model(model)
        self._backbone: Any = self._model.base_model
        self.head = output_head(self._model)
        self._check()

    @property
    def vocab_size(self) -> int:
        """Rows of the output layer."""
        return len(self.head.weight)

    @torch.no_grad()
    def of_completions(self, rollouts: Sequence[Rollout]) -> torch.Tensor:
        """Return [N, H], the hidden states that predict each token, completion by completion."""
        T = max(len(r.prompt_ids) + len(r.token_ids) for r in rollouts)
        ids_BT = torch.zeros(len(rollouts), T, dtype=torch.long)  # padding is masked, so its id does not matter
        mask_BT = torch.zeros_like(ids_BT)
        scored_BT = torch.zeros(len(rollouts), T, dtype=torch.bool)
        for row, rollout in enumerate(rollouts):
            start, end = len(rollout.prompt_ids), len(rollout.prompt_ids) + len(rollout.token_ids)
            ids_BT[row, :end] = torch.tensor([*rollout.prompt_ids, *rollout.token_ids])
            mask_BT[row, :end] = 1
            scored_BT[row, start - 1 : end - 1] = True
        device = self._model.device
        hidden_BTH = self._backbone(
            input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False
        ).last_hidden_state
        return hidden_BTH[scored_BT.to(device)]

    @torch.no_grad()
    def _check(self) -> None:
        ids_BT = torch.arange(min(_PROBE, self.vocab_size))[None].to(self._model.device)
        output = self._model(input_ids=ids_BT, use_cache=False)
        expected_TV = output.logits[0].float()
        if not bool(torch.isfinite(expected_TV.amax(-1)).all()):
            raise InputError(f"{self.name}: its logits hold NaN or infinity. Its weights are damaged, or it diverged.")
        hidden_TH = self._backbone(input_ids=ids_BT, use_cache=False).last_hidden_state[0]
        computed_TV = torch.empty_like(expected_TV)
        self.head.project(hidden_TH, computed_TV)
        tolerance = _HEAD_TOLERANCE.get(self.head.weight.dtype, 3e-2) * float(expected_TV.abs().max())
        gap = float((computed_TV - expected_TV).abs().max())
        if gap > tolerance:
            raise InputError(
                f"{self.name}: its output layer is not hidden states times weights with scale, bias and soft-capping"
                f" (logits differ by {gap:.3g}), so it cannot be streamed. Models of this architecture are not supported."
            )


def output_head(model: Any) -> OutputHead:
    """Return the output layer, with the scale (Cohere, Granite) or soft-capping (Gemma 2) of its configuration."""
    config = model.config.get_text_config()
    layer = model.get_output_embeddings()
    scaling = getattr(config, "logits_scaling", None)
    scale = getattr(config, "logit_scale", None)
    return OutputHead(
        weight=layer.weight.detach(),
        bias=None if getattr(layer, "bias", None) is None else layer.bias.detach(),
        scale=float(scale) if scale else 1.0 / float(scaling) if scaling else 1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def batches(rollouts: Iterable[Rollout]) -> Iterator[list[Rollout]]:
    """Group neighbouring rollouts by `padded_batches`."""
    return padded_batches(rollouts, lambda rollout: len(rollout.prompt_ids) + len(rollout.token_ids))
