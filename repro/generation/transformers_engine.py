"""Sample with transformers' `generate`: any model, any device, no extra install."""

from pathlib import Path

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.models.loading import load_model, load_tokenizer


class _LogProbRecorder(LogitsProcessor):
    """Records log p(sampled token) of every step without keeping any step's full logits.

    It runs last, so it sees the scores that are sampled from; the token sampled at step t is known at step t + 1.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_BV: torch.Tensor | None = None
        self.realised: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._last_BV is not None:
            self.settle(input_ids[:, -1])
        self._last_BV = torch.log_softmax(scores.float(), dim=-1)
        if bool(self._last_BV[:, 0].isnan().any()):  # a row with a NaN or +inf is all NaN
            raise InputError(
                f"model {self._name}: its logits hold NaN or infinity at token {len(self.realised)} of a completion."
                " Its weights are damaged, or its training diverged."
            )
        return scores

    def settle(self, token_B: torch.Tensor) -> None:
        """Gather the last step's log-probabilities of the sampled tokens."""
        assert self._last_BV is not None
        self.realised.append(self._last_BV.gather(1, token_B[:, None]).squeeze(1))
        self._last_BV = None


class TransformersEngine:
    """A model in this process. Temperature is applied before the softmax; the distribution is not truncated."""

    def __init__(self, model: Path | str) -> None:
        self._name = str(model)
        self._model = load_model(model)
        tokenizer = load_tokenizer(model)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = sorted({tokenizer.eos_token_id, *(end for end in ends if end is not None)})

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
        recorder = _LogProbRecorder(self._name)
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
        recorder.settle(out_NT[:, -1])
        new_NT = out_NT[:, width:].cpu()
        log_prob_NT = torch.stack(recorder.realised, dim=1).cpu()
        completions = [self._trim(ids, lps) for ids, lps in zip(new_NT.tolist(), log_prob_NT.tolist())]
        return [completions[i : i + n] for i in range(0, len(completions), n)]

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
