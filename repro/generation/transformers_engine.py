"""Sample with transformers' `generate`: any model, any device, no extra install."""

from pathlib import Path

import torch

from repro.errors import InputError
from repro.generation.completion import Completion
from repro.generation.decoding import Decoding, NonFiniteLogitsError
from repro.models.chat_tokens import eos_token_ids
from repro.models.generation_settings import neutral_generation_config
from repro.models.loading import load_model, load_tokenizer


class TransformersEngine:
    """A model in this process. Temperature is applied before the softmax; nothing else changes the distribution.

    The model's own generation configuration is ignored, except for its end tokens.

    Args:
        model: folder or hub id.
        look_every: see `Decoding`; does not change the completions on a CPU (on a GPU, matmuls of other sizes may round
            differently).
    """

    def __init__(self, model: Path | str, look_every: int | None = None) -> None:
        self._name = str(model)
        self._model = load_model(model)
        self._look_every = look_every
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
        decoding = Decoding(temperature=temperature, records=True, look_every=self._look_every)
        torch.manual_seed(seed)
        device = self._model.device
        try:
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
                custom_generate=decoding,
            )
        except NonFiniteLogitsError as error:
            raise InputError(
                f"model {self._name}: its logits hold NaN or infinity at token {error.token} of a completion."
                " Its weights are damaged, or its training diverged."
            ) from error
        assert decoding.log_prob_BT is not None
        new_NT, log_prob_NT = out_NT[:, width:].cpu(), decoding.log_prob_BT.cpu()
        completions = [self._trim(ids, lps) for ids, lps in zip(new_NT.tolist(), log_prob_NT.tolist())]
        return [completions[i : i + n] for i in range(0, len(completions), n)]

    def _trim(self, ids: list[int], log_probs: list[float]) -> Completion:
        """Cut the padding after the first end token, keeping the token itself."""
        end = next((i for i, token in enumerate(ids) if token in self._ends), None)
        if end is None:
            return Completion(ids, log_probs, "length")
        return Completion(ids[: end + 1], log_probs[: end + 1], "eos")

    def close(self) -> None:
        """Free the model's memory."""
        del self._model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
