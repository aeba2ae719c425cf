"""Log-probabilities of given completions, always from a forward pass, never from the sampler."""

from collections.abc import Sequence
from typing import Any

import torch

from repro.models.output_layer import keep_logits
from repro.system.gpu_memory import current_gpu


def completion_log_prob(
    model: Any, prompt_ids: Sequence[list[int]], completion_ids: Sequence[list[int]], batch_size: int
) -> torch.Tensor:
    """Compute log p(completion | prompt), summed over the completion's tokens only.

    Args:
        model: causal LM with TRL's fused head (`add_fused_lm_head`), which never holds all logits at once.
        prompt_ids, completion_ids: n token lists each, unpadded; an empty completion has log-probability 0.
        batch_size: sequences in one forward.

    Returns:
        [n] float64 on the CPU, nats.
    """
    tokens = token_log_probs(model, prompt_ids, completion_ids, batch_size)
    return torch.stack([log_probs.sum() for log_probs in tokens])


@torch.no_grad()
def token_log_probs(
    model: Any,
    prompt_ids: Sequence[list[int]],
    completion_ids: Sequence[list[int]],
    batch_size: int,
    *,
    is_precise: bool = False,
) -> list[torch.Tensor]:
    """Compute log p(token | prompt and preceding tokens) of every completion token; arguments as above.

    Args:
        is_precise: compute in the precision of the model's weights on a GPU too, without bfloat16 matmuls.

    Returns:
        n tensors [length of the completion], float64 on the CPU, nats.
    """
    scores: list[torch.Tensor] = []
    device = model.device
    output_device = model.get_output_embeddings().weight.device  # may differ if the model is spread over GPUs
    for start in range(0, len(prompt_ids), batch_size):
        pairs = list(zip(prompt_ids[start : start + batch_size], completion_ids[start : start + batch_size]))
        T = max(len(prompt) + len(completion) for prompt, completion in pairs)
        ids_BT = torch.zeros(len(pairs), T, dtype=torch.long)  # padding is masked, so any id will do
        mask_BT = torch.zeros(len(pairs), T, dtype=torch.long)
        labels_BT = torch.full((len(pairs), T), -100)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids_BT[row, :end] = torch.tensor(prompt + completion)
            mask_BT[row, :end] = 1
            labels_BT[row, len(prompt) : end] = torch.tensor(completion, dtype=torch.long)
        is_rounded = device.type == "cuda" and not is_precise
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_rounded)
        with autocast, keep_logits(), current_gpu(output_device):
            output = model(
                input_ids=ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                labels=labels_BT.to(device),
                fused_lm_head=True,
            )
        scored_BT = labels_BT[:, 1:] != -100  # position t scores token t + 1
        scores += [row[scored] for row, scored in zip(output.log_probs.double().cpu(), scored_BT)]
    return scores
