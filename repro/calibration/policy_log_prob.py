"""log p_phi of sampled completions, r_cal's second term (Eq 10), computed in the cheapest of three equivalent ways.

It always comes from the trainer's forward pass: vLLM uses other kernels and another precision, and over thousands of
tokens the gap would become part of r_cal.

1. vLLM samples: TRL already scores the completions for its importance weights, and that forward pass is reused.
2. A step is one forward pass in one process: the loss's forward runs early, when the completions are scored. Its
   log-probabilities go into the reward, and the loss reuses it, which saves a sixth of a step. The rows are put in the
   order in which TRL will shuffle them, so the numbers are bit-identical to those of two forwards.
3. Otherwise: one extra forward pass without gradient.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.utils import pad

Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Return values of TRL's forward: log-probabilities [B, C], entropies [B, C], auxiliary loss."""


class PolicyLogProb:
    """Mixin for TRL's GRPOTrainer that adds `policy_log_prob`."""

    _log_probs: torch.Tensor | None = None
    _reuse_next_forward = False
    _loss_forward: tuple[torch.Tensor, Scores] | None = None

    def policy_log_prob(self, completion_ids: Sequence[list[int]]) -> torch.Tensor:
        """Return log p_phi of the most recently sampled completions, [n] float64, nats per sequence."""
        assert self._log_probs is not None
        length_n = torch.tensor([len(ids) for ids in completion_ids])
        is_token_BC = torch.arange(self._log_probs.shape[1]) < length_n[:, None]
        return (self._log_probs.double().cpu() * is_token_BC).sum(1)

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        output = super()._generate(prompts)  # type: ignore[misc]
        self._reuse_next_forward = self.use_vllm and self.vllm_importance_sampling_correction  # type: ignore[attr-defined]
        if not self._reuse_next_forward:
            self._log_probs = self.score(output[0], output[1])
        return output

    @torch.no_grad()
    def score(self, prompt_ids: list[list[int]], completion_ids: list[list[int]]) -> torch.Tensor:
        """Return log p_phi of each completion token, [B, C], padded on the right, from a new forward pass."""
        fill = self._tokenizer.pad_token_id  # type: ignore[attr-defined]
        prompts = [torch.tensor(ids) for ids in prompt_ids]
        completions = [torch.tensor(ids, dtype=torch.long) for ids in completion_ids]
        ids_BT = torch.cat([pad(prompts, fill, "left"), pad(completions, fill, "right")], 1)
        mask_BC = pad([torch.ones_like(ids) for ids in completions], 0, "right")
        mask_BT = torch.cat([pad([torch.ones_like(ids) for ids in prompts], 0, "left"), mask_BC], 1)
        device = self.accelerator.device  # type: ignore[attr-defined]
        ids_BT, mask_BT = ids_BT.to(device), mask_BT.to(device)
        if self.is_one_forward():
            return self._score_with_graph(ids_BT, mask_BT, mask_BC.shape[1])
        log_prob_BC, _, _ = self._get_per_token_logps_and_entropies(
            self.model,  # type: ignore[attr-defined]
            ids_BT,
            mask_BT,
            mask_BC.shape[1],
            batch_size=self.args.per_device_train_batch_size,  # type: ignore[attr-defined]
        )
        return log_prob_BC

    def is_one_forward(self) -> bool:
        """True if the loss will process all sequences of the step in one forward pass of this process."""
        args = self.args  # type: ignore[attr-defined]
        processes = self.accelerator.num_processes  # type: ignore[attr-defined]
        return bool(
            self.model.training  # type: ignore[attr-defined]
            and args.steps_per_generation == args.gradient_accumulation_steps == processes == 1
            and not args.gradient_checkpointing
            and not getattr(self, "aux_loss_enabled", False)
        )

    def _score_with_graph(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, completion_tokens: int) -> torch.Tensor:
        """Run the loss's forward pass now; return its log-probabilities, [B, C], detached."""
        rows = _next_permutation(len(ids_BT))
        with torch.enable_grad():
            scores: Scores = super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                self.model,  # type: ignore[attr-defined]
                ids_BT[rows],
                mask_BT[rows],
                completion_tokens,
                compute_entropy=True,
            )
        self._loss_forward = ids_BT[rows], scores
        return scores[0].detach()[rows.argsort()]

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and self._loss_forward is not None:
            (ids_BT, scores), self._loss_forward = self._loss_forward, None
            if torch.equal(ids_BT, input_ids):  # if not, something else advanced the random state: recompute
                return scores
        scores = super()._get_per_token_logps_and_entropies(model, input_ids, *args, **kwargs)  # type: ignore[misc]
        if self._reuse_next_forward:
            self._log_probs, self._reuse_next_forward = scores[0].detach(), False
        return scores


def _next_permutation(n: int) -> torch.Tensor:
    """Return what the next `torch.randperm(n)` will be, without advancing the random stream."""
    state = torch.get_rng_state()
    rows = torch.randperm(n)
    torch.set_rng_state(state)
    return rows
