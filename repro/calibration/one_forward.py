"""One forward for r_cal's policy term and for the loss: both want log p_phi of the same tokens under the same weights.

TRL makes the loss's forward after the rewards are known; p_phi's score of the completions was one more, a sixth of a step by
transformers. Where a step is one forward of one process, the loss's forward is made when the completions are scored, and its
log-probabilities go into the reward. The numbers are those of two forwards to the last bit: the rows lie in the order in which
TRL will shuffle them.
"""

from typing import Any

import torch

Found = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""TRL's: log-probabilities [B, C], entropies [B, C], auxiliary loss."""


class OneForward:
    """For TRL's GRPOTrainer: `score_ahead` in place of a forward without gradient."""

    _ahead: tuple[torch.Tensor, Found] | None = None

    def can_score_ahead(self) -> bool:
        """Whether the loss will take the whole step's sequences at once, as they are scored."""
        args, model = self.args, self.model  # type: ignore[attr-defined]
        return bool(
            model.training
            and args.steps_per_generation == args.gradient_accumulation_steps == self.accelerator.num_processes == 1  # type: ignore[attr-defined]
            and not args.gradient_checkpointing
            and not getattr(self, "aux_loss_enabled", False)
        )

    def score_ahead(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, completion_tokens: int) -> torch.Tensor:
        """log p_phi of each completion token, [B, C], detached; the loss finds its forward made."""
        rows = _next_permutation(len(ids_BT))
        with torch.enable_grad():
            found: Found = super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                self.model,  # type: ignore[attr-defined]
                ids_BT[rows],
                mask_BT[rows],
                completion_tokens,
                compute_entropy=True,
            )
        self._ahead = ids_BT[rows], found
        return found[0].detach()[rows.argsort()]

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and self._ahead is not None:
            ids_BT, found = self._ahead
            self._ahead = None
            if torch.equal(ids_BT, input_ids):  # else something else drew a random number: it is made again
                return found
        return super()._get_per_token_logps_and_entropies(model, input_ids, *args, **kwargs)  # type: ignore[misc]


def _next_permutation(n: int) -> torch.Tensor:
    """What the next `torch.randperm(n)` will be; the random stream stays where it is."""
    state = torch.get_rng_state()
    rows = torch.randperm(n)
    torch.set_rng_state(state)
    return rows
