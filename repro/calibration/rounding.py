"""Measure whether a calibration survives bfloat16, the precision in which GPUs load the calibrated teacher.

Published models have bfloat16 weights. A small LoRA update merged into them is lost wherever it is below half of the
last bit: the teacher then behaves as if uncalibrated, and a study would read "no effect". The merged weights are stored
in float32; nothing here changes them.
"""

from collections.abc import Sequence
from typing import Any

import torch

from repro.models.generation_settings import neutral_generation
from repro.traps.token_kl import token_kl

PROMPTS, TOKENS = 4, 64
"""Prompts, and tokens per completion, for measuring the token KL."""
MOST_LOST = 0.1
"""ASSUMED: share of an update, or of the KL it causes, that may be lost without a warning."""


def update_survival(policy: Any) -> dict[str, float | None]:
    """Compare a merged LoRA update with what bfloat16 keeps of it. b: base weights, m: merged weights.

    Args:
        policy: peft model, not merged; weights float32.

    Returns:
        kept: <bf16(m) - bf16(b), m - b> / ||m - b||^2, 1 if nothing is lost; None for a zero update.
        erased: share of the changed weights that are unchanged in bfloat16.
    """
    inner = square = 0.0
    changed = erased = 0
    for layer in policy.modules():
        if not hasattr(layer, "get_delta_weight") or not getattr(layer, "active_adapters", None):
            continue
        base = layer.get_base_layer().weight.detach()
        merged = base + sum(layer.get_delta_weight(name).detach() for name in layer.active_adapters)
        update, rounded = merged - base, merged.bfloat16().float() - base.bfloat16().float()
        inner += float((rounded * update).sum(dtype=torch.float64))
        square += float(update.square().sum(dtype=torch.float64))
        changed += int((update != 0).sum())
        erased += int(((update != 0) & (rounded == 0)).sum())
    return {"kept": inner / square if square else None, "erased": erased / changed if changed else None}


@torch.no_grad()
def sample_sequences(model: Any, prompt_ids: Sequence[list[int]], tokens: int, seed: int) -> list[list[int]]:
    """Sample a completion of each prompt at temperature 1, independent of the global random state, which is preserved.

    Returns:
        Prompts with their completions, token ids.
    """
    sequences = []
    with torch.random.fork_rng(devices=[]), neutral_generation(model):
        torch.manual_seed(seed)
        for ids in prompt_ids:
            ids_1T = torch.tensor([ids], device=model.device)
            sampled_1T = model.generate(
                ids_1T, attention_mask=torch.ones_like(ids_1T), do_sample=True, top_k=0, max_new_tokens=tokens
            )
            sequences.append(sampled_1T[0].tolist())
    return sequences


@torch.no_grad()
def completion_logits(
    model: Any, prompt_ids: Sequence[list[int]], sequences: Sequence[list[int]]
) -> list[torch.Tensor]:
    """Return the logits [T, V] that predict the T tokens of each completion, on the CPU."""
    logits = []
    for prompt, sequence in zip(prompt_ids, sequences):
        ids_1T = torch.tensor([sequence], device=model.device)
        logits.append(model(input_ids=ids_1T).logits[0, len(prompt) - 1 : -1].float().cpu())
    return logits


def mean_token_kl(p: Sequence[torch.Tensor], q: Sequence[torch.Tensor]) -> float:
    """Return the mean KL(p||q) over all tokens, nats; p, q: logits [T, V] of each completion."""
    return float(torch.cat([token_kl(p_TV, q_TV) for p_TV, q_TV in zip(p, q)]).mean())


@torch.no_grad()
def round_weights(model: Any) -> None:
    """Round all weights to bfloat16, in place; they stay float32 tensors."""
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())


def rounding_warning(rounding: dict[str, float | None]) -> dict[str, str]:
    """Return {"rounding": message} if bfloat16 loses more than `MOST_LOST` of a calibration, else {}."""
    survived, erased = rounding["bf16_kept"], rounding["bf16_erased"]
    made, calibrated = rounding["bf16_kl"], rounding["calibration_kl"]
    if survived is None or erased is None or made is None or calibrated is None:
        return {}
    if survived >= 1 - MOST_LOST and made <= MOST_LOST * calibrated:
        return {}
    return {
        "rounding": (
            f"bfloat16 keeps {survived:.0%} of the update and resets {erased:.0%} of the changed weights; rounding moves the"
            f" model by {made:.2g} nats per token, the calibration by {calibrated:.2g}. GPUs load the teacher in bfloat16, so"
            " rounding alone may hide its effect. Use a larger learning rate or more steps for a larger update"
        )
    }
