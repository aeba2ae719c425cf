"""The calibration reward (Eq 10, 11) and its first term, the completion's log-probability under the target.

Each model scores the same completion with its own tokenizer, after the user's message in its own chat template.
Both count the end of the completion the same way: once if the policy ended it, not at all if it was truncated.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repro.models.chat_tokens import end_of_turn_id, is_same_tokenizer, prompt_token_ids
from repro.models.loading import load_model, load_tokenizer
from repro.models.padded_batches import sorted_batches
from repro.models.positions import check_length, position_limit
from repro.models.scoring import completion_log_prob

FORWARD_TOKENS = 32_768
"""Padded tokens in one forward pass of the target: four full-length completions at paper scale, a complete step at toy
scale. It changes the scores by rounding only."""


def calibration_reward(target_log_prob: Any, policy_log_prob: Any) -> Any:
    """Compute r_cal(x, y) = log p_C(tok_C(y) | x) - sg[log p_phi(tok_phi(y) | x)] (Eq 10; Eq 11 across tokenizers).

    Args:
        target_log_prob: [n] log-probability under the calibration target p_C, nats.
        policy_log_prob: [n] log-probability under the teacher being calibrated, p_phi, nats.

    Returns:
        [n], nats per sequence; a tensor is detached: the gradient of the stopped term has zero mean.
    """
    reward_n = target_log_prob - policy_log_prob
    return reward_n.detach() if isinstance(reward_n, torch.Tensor) else reward_n


@dataclass(frozen=True)
class TargetScores:
    """log_prob: [n] float64, nats. tokens: [n] tokens scored by the target, including its end of turn."""

    log_prob: torch.Tensor
    tokens: torch.Tensor


class TargetScorer:
    """Scores the policy's completions under the target: log p_C.

    If policy and target share a tokenizer, the sampled ids are scored directly, since decoding and re-encoding may give
    different ids. Otherwise the target's tokenizer encodes the text, separately from the prompt, as the policy's tokens
    are. Control tokens that the policy sampled inside the text are scored as the literal text they decode to: if they
    were dropped, they would be free for the target but cost the policy.

    Args:
        target: folder or hub id.
        policy_tokenizer: decodes what the policy sampled.
        most: padded tokens in one forward pass; changes the scores by rounding only.
        blind_seed: replaces the target's weights with untrained ones from this seed (a control); None keeps them.
    """

    def __init__(
        self,
        target: Path | str,
        policy_tokenizer: Any,
        *,
        reasoning: bool = True,
        most: int = FORWARD_TOKENS,
        blind_seed: int | None = None,
    ) -> None:
        from trl.trainer.utils import add_fused_lm_head

        self.tokenizer = load_tokenizer(target)
        model = load_model(target)
        if blind_seed is not None:
            model = _untrained(model, blind_seed)
        self.end_id = end_of_turn_id(self.tokenizer, model.generation_config.eos_token_id)
        self.vocab_size = model.config.get_text_config().vocab_size
        add_fused_lm_head(model)
        self.model: Any = model.requires_grad_(False)
        self.policy_tokenizer = policy_tokenizer
        self.has_shared_tokens = is_same_tokenizer(policy_tokenizer, self.tokenizer)
        self.reasoning, self.most = reasoning, most
        self._name, self._limit = target, position_limit(model.config)
        self._prompts: dict[str, list[int]] = {}

    def encode(self, sampled: list[int], policy_ends: Collection[int]) -> list[int]:
        """Return a sampled completion in the target's tokens.

        Args:
            sampled: the policy's tokens, its end token last if it was sampled.
            policy_ends: every id that ends a completion for the policy.
        """
        # A padded output layer can sample ids that only the policy has: such completions are scored as text
        if self.has_shared_tokens and max(sampled, default=0) < self.vocab_size:
            return sampled
        ended = bool(sampled) and sampled[-1] in policy_ends
        text = self.policy_tokenizer.decode(
            sampled[:-1] if ended else sampled, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        ids: list[int] = encoded["input_ids"]
        return [*ids, self.end_id] if ended else ids

    def __call__(
        self, prompts: Sequence[str], sampled: Sequence[list[int]], policy_ends: Collection[int]
    ) -> TargetScores:
        """Score n completions.

        Args:
            prompts: n user messages, before any template.
            sampled: n completions, the policy's token ids.
            policy_ends: every id that ends a completion for the policy.
        """
        for prompt in set(prompts) - self._prompts.keys():
            self._prompts[prompt] = prompt_token_ids(self.tokenizer, prompt, self.reasoning)
        completions = [self.encode(list(ids), policy_ends) for ids in sampled]
        tokens = [len(ids) for ids in completions]
        lengths = [len(self._prompts[prompt]) + n for prompt, n in zip(prompts, tokens)]
        for prompt, length in zip(prompts, lengths):
            if self._limit is not None and length > self._limit:
                check_length(self._name, length, 0, f"a prompt with its completion ({prompt[:40]!r})")
        log_prob = torch.zeros(len(completions), dtype=torch.float64)
        for rows in sorted_batches(lengths, self.most):
            log_prob[rows] = completion_log_prob(
                self.model, [self._prompts[prompts[n]] for n in rows], [completions[n] for n in rows], len(rows)
            )
        return TargetScores(log_prob, torch.tensor(tokens))


def _untrained(model: Any, seed: int) -> Any:
    """Return a freshly initialised model of the same architecture, without touching the random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = type(model)(model.config)
    untrained.generation_config = model.generation_config
    return untrained.to(device=model.device, dtype=model.dtype).eval()
