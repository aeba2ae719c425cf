"""The loss and the trainer of DOGe: -log p_T of the teacher's own tokens, minus the KL to a proxy on reasoning tokens.

B sequences, T positions, C completion positions, N completion tokens of one forward pass, V vocabulary of the teacher,
K ids from 0 up that teacher and proxy share. p_T is the teacher, p_P the proxy.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import Trainer

from repro.guards.config import TOKENS_AT_ONCE, OutputLayerConfig
from repro.training.sharding import shard_frozen

HISTORY_NAMES = {
    "loss": "loss",
    "nll": "nll",
    "proxy_kl": "proxy_kl",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "step": "step",
}
"""nll: nats per completion token; proxy_kl: KL(p_T||p_P) at the temperature of the loss, nats per reasoning token."""


def token_losses(
    logits_NV: torch.Tensor, ids_N: torch.Tensor, proxy_NK: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each token's terms: -log p_T(token), and KL(p_T^(1/temperature) || p_P^(1/temperature)), renormalised.

    Args:
        logits_NV: the teacher's logits, with gradient.
        ids_N: the completion's tokens.
        proxy_NK: the proxy's logits over the K common ids, over which the KL is taken.

    Returns:
        [N] and [N], nats, in the precision of the logits.
    """
    nll_N = functional.cross_entropy(logits_NV, ids_N, reduction="none")
    log_p_NK = (logits_NV[:, : proxy_NK.shape[1]] / temperature).log_softmax(-1)
    log_q_NK = (proxy_NK / temperature).log_softmax(-1)
    return nll_N, (log_p_NK.exp() * (log_p_NK - log_q_NK)).sum(-1)


def summed_losses(
    logits_NV: torch.Tensor,
    ids_N: torch.Tensor,
    proxy_NK: torch.Tensor,
    guarded_N: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return [2] the sums of `token_losses`, the KL over guarded tokens only; recomputed in parts for the gradient."""

    def part(
        logits_nV: torch.Tensor, ids_n: torch.Tensor, proxy_nK: torch.Tensor, guarded_n: torch.Tensor
    ) -> torch.Tensor:
        nll_n, kl_n = token_losses(logits_nV, ids_n, proxy_nK, temperature)
        return torch.stack([nll_n.sum(), (guarded_n * kl_n).sum()])

    if len(ids_N) <= TOKENS_AT_ONCE:
        return part(logits_NV, ids_N, proxy_NK, guarded_N)
    parts = zip(*(tensor.split(TOKENS_AT_ONCE) for tensor in (logits_NV, ids_N, proxy_NK, guarded_N)))
    return torch.stack([checkpoint(part, *tensors, use_reentrant=False) for tensors in parts]).sum(0)


class OutputLayerTrainer(Trainer):
    """transformers' Trainer with the loss sum_t (-log p_T(y_t) - strength m_t KL_t) / N; m_t is 1 for reasoning tokens,
    N the number of completion tokens in the step."""

    def __init__(self, *, proxy: Any, config: OutputLayerConfig, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.proxy = shard_frozen(self.accelerator, proxy)
        self.config = config
        self._sums: list[torch.Tensor] = []

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a micro-batch; the losses of a step's micro-batches add up to the step's."""
        labels_BC, guarded_BC = inputs["labels"][:, 1:], inputs["guarded"]
        read = {name: inputs[name] for name in ("input_ids", "attention_mask", "position_ids")}
        read |= {"logits_to_keep": labels_BC.shape[1] + 1, "use_cache": False}
        is_token_BC = labels_BC != -100
        with torch.no_grad(), self.accelerator.autocast():
            proxy_NK = self.proxy(**read).logits[:, :-1][is_token_BC].float()
        logits_NV = model(**read).logits[:, :-1][is_token_BC].float()
        K = min(logits_NV.shape[1], proxy_NK.shape[1])
        guarded_N = guarded_BC[is_token_BC].float()
        ids_N, temperature = labels_BC[is_token_BC], self.config.temperature
        sums = summed_losses(logits_NV, ids_N, proxy_NK[:, :K], guarded_N, temperature)
        tokens = is_token_BC.sum() if num_items_in_batch is None else num_items_in_batch
        counts = torch.stack([is_token_BC.sum(), guarded_N.sum()]).to(sums)
        self._sums.append(torch.cat([sums.detach(), counts]))
        return (sums[0] - self.config.strength * sums[1]) / tokens * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over the step's tokens on all ranks."""
        if self._sums:
            nll, kl, tokens, guarded = self.accelerator.reduce(torch.stack(self._sums).sum(0), "sum").tolist()
            logs |= {"nll": nll / tokens, "proxy_kl": kl / max(1.0, guarded)}
            self._sums = []
        super().log(logs, start_time)


def collate(rows: Sequence[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Return a batch with left-padded prompts and right-padded completions.

    Besides the model inputs, [B, T]: labels [B, 1 + C], -100 for padding and in the first column, because the trainer
    counts labels after the usual shift; guarded [B, C], true for reasoning.
    """
    P = max(len(row["prompt_ids"]) for row in rows)
    C = max(len(row["completion_ids"]) for row in rows)
    ids_BT = torch.full((len(rows), P + C), pad_id)
    mask_BT = torch.zeros_like(ids_BT)
    labels_BL = torch.full((len(rows), 1 + C), -100)
    guarded_BC = torch.zeros((len(rows), C), dtype=torch.bool)
    for n, row in enumerate(rows):
        prompt, completion = row["prompt_ids"], row["completion_ids"]
        ids_BT[n, P - len(prompt) : P + len(completion)] = torch.tensor(prompt + completion)
        mask_BT[n, P - len(prompt) : P + len(completion)] = 1
        labels_BL[n, 1 : 1 + len(completion)] = torch.tensor(completion)
        guarded_BC[n, : row["guarded"]] = True
    position_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    return {
        "input_ids": ids_BT,
        "attention_mask": mask_BT,
        "position_ids": position_BT,
        "labels": labels_BL,
        "guarded": guarded_BC,
    }
