"""Score open-ended completions in 0..1 with a sequence classifier with one logit.

The logit is read at the last unmasked token. transformers itself looks for the last id that is not the pad id, which is
one token too early if the tokenizer pads with its end token.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from repro.errors import InputError
from repro.models.chat_tokens import conversation_token_ids
from repro.models.loading import check_loadable, load_complete, load_config, load_tokenizer
from repro.models.padded_batches import padded_batches
from repro.system.gpu_memory import free_gpu_memory


class RewardModel:
    """Score = logistic(logit): the paper's scores lie in 0..1, but it does not state the transform (ASSUMED).

    On a GPU the weights are loaded only while scoring, because training needs the memory in between. The host keeps the
    memory-mapped file rather than a copy.

    Raises:
        InputError: not a sequence classifier with one logit, or no chat template.
    """

    def __init__(self, model: Path | str) -> None:
        _check_head(model)
        self._tokenizer = load_tokenizer(model)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        self._model = load_complete(AutoModelForSequenceClassification, model, dtype=dtype).eval()
        self._scores: dict[bytes, float] = {}

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        """Return a score per (prompt, completion), in the reward model's own chat template."""
        pairs = [(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        keys = [_digest(pair) for pair in pairs]
        unseen = {key: pair for key, pair in zip(keys, pairs) if key not in self._scores}
        if unseen:
            ids = [self._chat_token_ids(*pair) for pair in unseen.values()]
            order = sorted(zip(unseen, ids), key=lambda text: (len(text[1]), text))
            with self._weights_in_place():
                for batch in padded_batches(order, lambda text: len(text[1])):
                    logits = last_logits(self._model, [token_ids for _, token_ids in batch], self._device)
                    self._scores.update(zip((key for key, _ in batch), torch.sigmoid(logits).tolist()))
        return [self._scores[key] for key in keys]

    def _weights_in_place(self) -> contextlib.AbstractContextManager[None]:
        if self._device.type == "cpu":
            return contextlib.nullcontext()
        return lent_weights(self._model, lambda weight: weight.to(self._device))

    def _chat_token_ids(self, prompt: str, completion: str) -> list[int]:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
        return conversation_token_ids(self._tokenizer, turns)


def check_reward_model(model: Path | str) -> None:
    """Check that a reward model can be loaded; of a folder, reads all but weight values, of a hub id, the small files.

    Raises:
        InputError: as `RewardModel`.
    """
    _check_head(model)
    if isinstance(model, Path):
        check_loadable(model, AutoModelForSequenceClassification)
    if load_tokenizer(model).chat_template is None:
        raise InputError(
            f"reward model {model}: no chat template. Add its chat_template.jinja, or choose another model."
        )


def _check_head(model: Path | str) -> None:
    labels = load_config(model).num_labels
    if labels != 1:
        raise InputError(f"reward model {model}: {labels} labels, but a reward model has one logit")


@torch.no_grad()
def last_logits(model: Any, token_ids: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Return the logit at the last token of each sequence, as if it were computed alone.

    Args:
        model: sequence classifier with one logit: a decoder with a `score` layer, or an encoder with its own pooling.
        token_ids: B non-empty sequences.

    Returns:
        [B] float32 on the CPU.
    """
    T = max(map(len, token_ids))
    ids_BT = torch.zeros(len(token_ids), T, dtype=torch.long)  # padding is masked, so its id does not matter
    mask_BT = torch.zeros_like(ids_BT)
    for row, sequence in enumerate(token_ids):
        ids_BT[row, : len(sequence)] = torch.tensor(sequence)
        mask_BT[row, : len(sequence)] = 1
    inputs = {"input_ids": ids_BT.to(device), "attention_mask": mask_BT.to(device)}
    if not hasattr(model, "score"):
        return model(**inputs).logits.float().squeeze(-1).cpu()
    hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
    last_BH = hidden_BTH[torch.arange(len(token_ids)), mask_BT.sum(1) - 1]
    return model.score(last_BH).float().squeeze(-1).cpu()


@contextlib.contextmanager
def lent_weights(model: Any, copy: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Make the model compute with copies of its weights within the context, and restore the originals afterwards.

    `model.to("cpu")` would instead copy the memory-mapped weights into private host memory, in every process.
    """
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.data for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.data = copy(tensor.data)
        yield
    finally:
        for tensor, data in zip(tensors, before):
            tensor.data = data
        free_gpu_memory()  # vLLM may wake up next and cannot use memory cached by torch


def _digest(pair: tuple[str, str]) -> bytes:
    return hashlib.blake2b("\0".join(pair).encode(errors="surrogatepass"), digest_size=16).digest()
