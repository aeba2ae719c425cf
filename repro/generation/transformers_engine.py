"""Sample with transformers' `generate`: any model, any device, no extra install."""

from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.models.chat_tokens import eos_token_ids
from repro.models.generation_settings import neutral_generation_config
from repro.models.loading import load_model, load_tokenizer

LOOK_EVERY = 16
"""Tokens between two looks at a GPU's results (is a logit NaN, has every sequence ended): a look waits until the GPU is idle."""


class _LogProbRecorder(LogitsProcessor):
    """Records log p(sampled token) of every step without keeping any step's full logits.

    It runs last, so it sees the scores that are sampled from; the token sampled at step t is known at step t + 1.

    Args:
        name: of the model, for messages.
        look_every: tokens between two checks for logits that are not numbers.
    """

    def __init__(self, name: str, look_every: int) -> None:
        self._name, self._look_every = name, look_every
        self._is_bad: list[torch.Tensor] = []
        self._last_BV: torch.Tensor | None = None
        self.realised: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._last_BV is not None:
            self.settle(input_ids[:, -1])
        self._last_BV = torch.log_softmax(scores.float(), dim=-1)
        is_bad_B = self._last_BV[:, 0].isnan()  # a row with a NaN or +inf is all NaN
        self._is_bad.append(is_bad_B.any())
        if len(self._is_bad) % self._look_every == 0:
            self.check()
        return scores.masked_fill(is_bad_B[:, None], 0.0)  # drawing from NaN would end a GPU's process before the check

    def check(self) -> None:
        """Raise InputError if a logit so far was NaN or infinite."""
        bad = torch.stack(self._is_bad).nonzero().flatten().tolist()
        if bad:
            raise InputError(
                f"model {self._name}: its logits hold NaN or infinity at token {bad[0]} of a completion."
                " Its weights are damaged, or its training diverged."
            )

    def settle(self, token_B: torch.Tensor) -> None:
        """Gather the last step's log-probabilities of the sampled tokens."""
        assert self._last_BV is not None
        self.realised.append(self._last_BV.gather(1, token_B[:, None]).squeeze(1))
        self._last_BV = None


class TransformersEngine:
    """A model in this process. Temperature is applied before the softmax; nothing else changes the distribution.

    Settings of the model's own generation configuration, besides its end tokens, do not count.

    Args:
        model: folder or hub id.
        look_every: tokens between two looks at what was sampled; None for `LOOK_EVERY` on a GPU, and 1 on a CPU, where a
            look is free. Does not change the completions.
    """

    def __init__(self, model: Path | str, look_every: int | None = None) -> None:
        self._name = str(model)
        self._model = load_model(model)
        self._look_every = look_every or (LOOK_EVERY if self._model.device.type == "cuda" else 1)
        self._model._has_unfinished_sequences = self._has_unfinished_sequences  # it looks after each token
        tokenizer = load_tokenizer(model)
        self._ends = sorted(eos_token_ids(tokenizer, self._model.generation_config.eos_token_id))
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]
        self._model.generation_config = neutral_generation_config(self._model)

    @torch.inference_mode()
    def generate(
        self, prompt_ids: list[list[int]], n: int, max_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """See `Engine.generate`. All prompts form one padded batch; the caller bounds its size."""
        width = max(map(len, prompt_ids))
        ids_BT = torch.full((len(prompt_ids), width), self._pad)
        mask_BT = torch.zeros_like(ids_BT)
        for row, ids in enumerate(prompt_ids):
            ids_BT[row, width - len(ids) :] = torch.tensor(ids)
            mask_BT[row, width - len(ids) :] = 1
        recorder = _LogProbRecorder(self._name, self._look_every)
        self._tokens, self._most_tokens = 0, max_tokens
        torch.manual_seed(seed)
        device = self._model.device
        out_NT = self._model.generate(
            ids_BT.to(device),
            attention_mask=mask_BT.to(device),
            do_sample=True,
            temperature=None,
            top_p=None,
            top_k=0,
            num_return_sequences=n,
            max_new_tokens=max_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
            logits_processor=LogitsProcessorList([_Temperature(temperature), recorder]),
        )
        recorder.check()
        recorder.settle(out_NT[:, -1])
        new_NT = out_NT[:, width:].cpu()
        log_prob_NT = torch.stack(recorder.realised, dim=1).cpu()
        completions = [self._trim(ids, lps) for ids, lps in zip(new_NT.tolist(), log_prob_NT.tolist())]
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    def _has_unfinished_sequences(self, is_finished: Any, synced_gpus: bool, device: Any) -> bool:
        """Decide for `generate` whether to go on; sequences that have ended get padding, which is cut off."""
        tokens, self._tokens = self._tokens, self._tokens + 1
        return tokens < self._most_tokens and not (tokens % self._look_every == 0 and bool(is_finished))

    def _trim(self, ids: list[int], log_probs: list[float]) -> Completion:
        """Cut the padding after the first end token, keeping that token."""
        end = next((i for i, token in enumerate(ids) if token in self._ends), None)
        if end is None:
            return Completion(ids, log_probs, "length")
        return Completion(ids[: end + 1], log_probs[: end + 1], "eos")

    def close(self) -> None:
        """Free the model's memory."""
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Temperature(LogitsProcessor):
    """Divide by the temperature here, so that the recorder after it sees what is sampled from."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores if self._temperature == 1.0 else scores / self._temperature
