"""Sample from the distribution of a sampler guard: teacher and proxies run side by side, each with its own cache.

B sequences, T tokens so far, V common vocabulary of the models.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from repro.distillation.pair import check_pair, fit_vocabulary
from repro.errors import InputError
from repro.generation.completion import Completion
from repro.generation.decoding import draw
from repro.guards.base import SamplerGuard
from repro.models.chat_tokens import eos_token_ids
from repro.models.loading import load_model, load_tokenizer
from repro.system.phases import phase


class GuardedEngine:
    """An engine (`generation.engine.Engine`) for a guarded teacher.

    Args:
        model, proxy: folders or hub ids with the same tokenizer.
        holdout: prompt and completion tokens of the teacher, for guards that read them.

    Raises:
        InputError: the models share no vocabulary.
    """

    def __init__(
        self,
        guard: SamplerGuard,
        model: Path | str,
        proxy: Path | str,
        holdout: Sequence[tuple[list[int], list[int]]] = (),
    ) -> None:
        compared = check_pair(model, proxy).compared
        self._guard = guard
        self._teacher = fit_vocabulary(load_model(model), compared).eval()
        # in float32, because bfloat16 would round away a step of a hundredth of a gradient
        loaded = fit_vocabulary(load_model(proxy).float(), compared).eval()
        with phase("preparing the guard"):
            self._proxies = [moved.eval() for moved in guard.proxies(loaded, holdout)]
        tokenizer = load_tokenizer(model)
        self._ends = sorted(eos_token_ids(tokenizer, self._teacher.generation_config.eos_token_id))

    @torch.inference_mode()
    def generate(
        self, prompt_ids: list[list[int]], n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """See `Engine.generate`. Log-probabilities are under the guard's distribution."""
        prompts = [prompt for prompt in prompt_ids for _ in range(n)]
        width = max(map(len, prompts))
        ids_BT = torch.zeros(len(prompts), width, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for row, ids in enumerate(prompts):
            ids_BT[row, width - len(ids) :] = torch.tensor(ids)
            mask_BT[row, width - len(ids) :] = 1
        device = self._teacher.device
        generator = torch.Generator(device).manual_seed(seed)
        models = [_Cached(model, mask_BT.to(device)) for model in (self._teacher, *self._proxies)]
        new_BT, goes_on_B = ids_BT.to(device), torch.ones(len(prompts), dtype=torch.bool, device=device)
        ends, row_B = torch.tensor(self._ends, device=device), torch.arange(len(prompts), device=device)
        sampled: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        for _ in range(max_tokens):
            teacher_BV, *proxies_BV = (model.next_logits(new_BT) for model in models)
            log_p_BV = torch.log_softmax(self._guard.combine(teacher_BV / temperature, proxies_BV), -1)
            if not torch.isfinite(log_p_BV.max(-1).values).all():
                raise InputError(
                    f"guard '{self._guard.label}': the distribution that it samples from is NaN or infinite. Lower its strength, or check the models' weights"
                )
            token_B = draw(log_p_BV.exp(), row_B, len(row_B), generator)
            sampled.append(token_B)
            scores.append(log_p_BV.gather(1, token_B[:, None]).squeeze(1))
            goes_on_B &= ~torch.isin(token_B, ends)
            if not goes_on_B.any():
                break
            new_BT = token_B[:, None]
        tokens, log_probs = torch.stack(sampled, 1).tolist(), torch.stack(scores, 1).tolist()
        completions = [self._trim(ids, nats) for ids, nats in zip(tokens, log_probs)]
        return [completions[start : start + n] for start in range(0, len(completions), n)]

    def _trim(self, ids: list[int], log_probs: list[float]) -> Completion:
        end = next((position for position, token in enumerate(ids) if token in self._ends), None)
        if end is None:
            return Completion(ids, log_probs, "length")
        return Completion(ids[: end + 1], log_probs[: end + 1], "eos")

    def close(self) -> None:
        """Free the models' memory."""
        del self._teacher, self._proxies
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Cached:
    """A model with its cache of the tokens read so far."""

    def __init__(self, model: Any, mask_BT: torch.Tensor) -> None:
        self._model, self._mask_BT, self._cache = model, mask_BT, None

    def next_logits(self, new_BT: torch.Tensor) -> torch.Tensor:
        """Read new tokens; return [B, V] float32 logits of the next one."""
        if self._cache is not None:
            self._mask_BT = torch.cat([self._mask_BT, torch.ones_like(new_BT)], 1)
        position_BT = (self._mask_BT.cumsum(1) - 1).clamp(min=0)[:, -new_BT.shape[1] :]
        output = self._model(
            input_ids=new_BT,
            attention_mask=self._mask_BT,
            position_ids=position_BT,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = output.past_key_values
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV
