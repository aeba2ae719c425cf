"""Score open-ended completions in 0..1 by a sequence classifier with one logit."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification

from repro.errors import InputError
from repro.models.loading import load_complete, load_tokenizer


class RewardModel:
    """Score = logistic(logit): the paper's scores lie in 0..1, its transform is lost (ASSUMED)."""

    def __init__(self, model: Path | str, batch: int = 256) -> None:
        self._tokenizer = load_tokenizer(model)
        cuda = torch.cuda.is_available()
        self._model = load_complete(
            AutoModelForSequenceClassification, model, dtype=torch.bfloat16 if cuda else torch.float32
        ).eval()
        if self._model.config.num_labels != 1:
            raise InputError(
                f"reward model {model}: {self._model.config.num_labels} labels, but a reward model has one logit"
            )
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        self._device = "cuda" if cuda else "cpu"
        self._batch = batch
        self._seen: dict[tuple[str, str], float] = {}

    @torch.inference_mode()
    def score(self, prompts: list[str], completions: list[str]) -> list[float]:
        """Return a score per (prompt, completion), in the reward model's own chat template."""
        pairs = list(zip(prompts, completions))
        unseen = sorted({pair for pair in pairs if pair not in self._seen}, key=lambda pair: (len(pair[1]), pair))
        self._model.to(self._device)  # only while it scores: training needs the memory in between
        for start in range(0, len(unseen), self._batch):
            batch = unseen[start : start + self._batch]
            texts = [
                self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}], tokenize=False
                )
                for prompt, completion in batch
            ]
            tokens = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            logits = self._model(**tokens.to(self._device)).logits.float().squeeze(-1)
            self._seen.update(zip(batch, torch.sigmoid(logits).tolist()))
        self._model.to("cpu")
        return [self._seen[pair] for pair in pairs]
