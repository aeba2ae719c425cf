"""A faster sampling loop for transformers' `generate`: equal prompts are prefilled once, ended sequences are dropped.

`generate` prepares the inputs and calls `Decoding` through its documented `custom_generate`. The tokens are the same as
from its built-in loop, because the random numbers are: each step draws for all sequences, including ended ones.
B sequences, R of them still computed, P prompt, V vocabulary.
"""

import functools
from typing import Any

import torch

LOOK_EVERY = 16
"""Tokens between checks of the GPU's results (NaN logits, ended sequences); each check synchronises with the GPU."""
FEWEST_ROWS = 16
"""Fewest rows of a forward pass: below this, MKL uses another kernel, which rounds differently (MEASURED)."""
LEFT_OUT = 0.75
"""Ended sequences are dropped once at most this share of the computed ones is unfinished; dropping copies the cache."""


class NonFiniteLogitsError(RuntimeError):
    """A logit was NaN or infinite. The message is that of `torch.multinomial`, which error advice matches on."""

    def __init__(self, token: int) -> None:
        super().__init__(f"probability tensor contains either `inf`, `nan` or element < 0, at token {token}")
        self.token = token


class Decoding:
    """Samples from the model's distribution until every sequence has ended or `max_length` is reached.

    Args:
        temperature: of the distribution, applied before the softmax.
        records: keep the log-probability of every sampled token; read it from `log_prob_BT` after the call.
        look_every: tokens between checks; None for `LOOK_EVERY` on a GPU and 1 on a CPU, where a check is free.
    """

    def __init__(self, *, temperature: float = 1.0, records: bool = False, look_every: int | None = None) -> None:
        self.temperature, self.records, self.look_every = temperature, records, look_every
        self.log_prob_BT: torch.Tensor | None = None

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return [B, P + sampled], padded after an end token.

        Args:
            input_ids: [B, P], padded on the left.
            kwargs: further model inputs.

        Raises:
            ValueError: the configuration would change the model's distribution.
            NonFiniteLogitsError: a logit is NaN or infinite; names the token.
        """
        if len(logits_processor) or not generation_config.do_sample:
            raise ValueError(
                "logits processors and do_sample=False are not supported: this loop samples from the model's distribution"
            )
        device = input_ids.device
        ends = torch.tensor(_as_list(generation_config.eos_token_id), dtype=torch.long, device=device)
        look_every = self.look_every or (LOOK_EVERY if device.type == "cuda" else 1)
        B, P = input_ids.shape
        most = generation_config.max_length - P
        token_BT = torch.full((B, most), _as_list(generation_config.pad_token_id)[0], device=device)
        log_prob_BT = torch.zeros(B, most, device=device) if self.records else None
        row_R, goes_on_R = torch.arange(B, device=device), torch.ones(B, dtype=torch.bool, device=device)
        is_bad: list[torch.Tensor] = []
        logits_RV, kwargs = _read_prompts(model, input_ids, kwargs)
        for t in range(most):
            if t:
                is_cached = kwargs.get("use_cache", True)
                new = token_BT[row_R, t - 1, None] if is_cached else torch.cat([input_ids, token_BT[:, :t]], 1)
                logits_RV, kwargs = _forward(model, new, kwargs, next_sequence_length=1 if is_cached else None)
            score_RV = logits_RV if self.temperature == 1.0 else logits_RV / self.temperature
            p_RV = torch.softmax(score_RV, -1)
            is_bad.append(p_RV[:, 0].isnan().any())  # a row with a NaN or +inf is all NaN
            token_R = draw(p_RV, row_R, B)
            token_BT[row_R, t] = torch.where(goes_on_R, token_R, token_BT[row_R, t])
            if log_prob_BT is not None:
                log_prob_BT[row_R, t] = torch.log_softmax(score_RV, -1).gather(1, token_R[:, None]).squeeze(1)
            goes_on_R = goes_on_R & ~torch.isin(token_R, ends)
            if (t + 1) % look_every == 0 or t + 1 == most:
                _check(is_bad, t + 1 - len(is_bad))
                is_bad.clear()
                count = int(goes_on_R.sum())
                if not count:
                    break
                if count <= LEFT_OUT * len(row_R) and len(row_R) > FEWEST_ROWS and _can_select(kwargs):
                    kept = (~goes_on_R).to(torch.uint8).argsort(stable=True)[: max(count, FEWEST_ROWS)].sort().values
                    kwargs = _select(kwargs, kept, len(row_R))
                    row_R, goes_on_R = row_R[kept], goes_on_R[kept]
        sampled = t + 1
        self.log_prob_BT = None if log_prob_BT is None else log_prob_BT[:, :sampled]
        return torch.cat([input_ids, token_BT[:, :sampled]], 1)


def _as_list(ids: Any) -> list[int]:
    if ids is None:
        return []
    return ids.flatten().tolist() if isinstance(ids, torch.Tensor) else [ids] if isinstance(ids, int) else list(ids)


def draw(p_RV: torch.Tensor, row_R: torch.Tensor, batch: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Return [R] the tokens that `torch.multinomial` would draw for these rows of the batch, by the same method.

    It divides by exponential random numbers and takes the argmax. The numbers are drawn for the entire batch, so a
    row's numbers do not depend on which other rows are still computed.
    """
    V = p_RV.shape[1]
    if p_RV.is_cpu and p_RV.dtype == torch.float32 and exponentials_are_logarithms():
        uniform_BV = torch.empty(batch, V, dtype=torch.float64).uniform_(generator=generator)
        noise_RV = _exponentials(uniform_BV if len(row_R) == batch else uniform_BV[row_R])
    else:
        noise_BV = p_RV.new_empty(batch, V).exponential_(generator=generator)
        noise_RV = noise_BV if len(row_R) == batch else noise_BV[row_R]
    return torch.div(p_RV, noise_RV, out=noise_RV).argmax(-1)


def _exponentials(uniform: torch.Tensor) -> torch.Tensor:
    """Return -log(1 - u) as float32 for float64 numbers u; overwrites u."""
    return torch.log1p(uniform.neg_(), out=uniform).neg_().to(torch.float32)


@functools.cache
def exponentials_are_logarithms() -> bool:
    """True if `exponential_` on this CPU takes logarithms of `uniform_`'s float64 numbers, one after the other.

    Taking logarithms of whole rows, and only of unfinished ones, then gives the same numbers (0 of 38 million differ)
    in half the time. On Intel CPUs torch draws different numbers, from MKL.
    """
    first, second = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    drawn = torch.empty(64).exponential_(generator=first)
    uniform = torch.empty(64, dtype=torch.float64).uniform_(generator=second)
    return torch.equal(drawn, _exponentials(uniform)) and torch.equal(first.get_state(), second.get_state())


def _check(is_bad: list[torch.Tensor], first: int) -> None:
    """Raise NonFiniteLogitsError if a logit was NaN or infinite at token `first` or later."""
    bad = torch.stack(is_bad).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteLogitsError(first + bad[0])


def _read_prompts(model: Any, input_ids: torch.Tensor, kwargs: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Compute the prompts' cache and last logits, [B, V]; consecutive equal prompts only once.

    With fewer than `FEWEST_ROWS` distinct prompts, every row is computed.
    """
    mask_BP = kwargs.get("attention_mask", torch.ones_like(input_ids))
    is_new_B = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
    is_new_B[1:] = ((input_ids[1:] != input_ids[:-1]) | (mask_BP[1:] != mask_BP[:-1])).any(1)
    first = is_new_B.nonzero().flatten()
    if not FEWEST_ROWS <= len(first) < len(input_ids) or not _can_select(kwargs):
        logits, after = _forward(model, input_ids, kwargs, is_first_iteration=True)
        return logits, after
    prompt_of_B = is_new_B.cumsum(0) - 1
    inputs = {name: value[first] if _is_by_row(value, len(input_ids)) else value for name, value in kwargs.items()}
    logits, after = _forward(model, input_ids[first], inputs, is_first_iteration=True)
    return logits[prompt_of_B], _select(after, prompt_of_B, len(first))


def _forward(
    model: Any, input_ids: torch.Tensor, kwargs: dict[str, Any], **how: Any
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the logits at the last position, float32, and the inputs of the next token's forward."""
    outputs = model(**model.prepare_inputs_for_generation(input_ids, **how, **kwargs), return_dict=True)
    # a copy, since a view would keep the logits of all positions in memory
    logits = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=input_ids.device)
    return logits, model._update_model_kwargs_for_generation(outputs, kwargs)


def _is_by_row(value: Any, rows: int) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) == rows


def _can_select(kwargs: dict[str, Any]) -> bool:
    """True if rows of the cache can be selected: for attention layers, not for recurrent ones."""
    layers = getattr(kwargs.get("past_key_values"), "layers", None)
    return layers is not None and all(hasattr(layer, "batch_select_indices") for layer in layers)


def _select(kwargs: dict[str, Any], rows: torch.Tensor, count: int) -> dict[str, Any]:
    """Select rows of the cache, in place, and of each input that has `count` rows."""
    kwargs["past_key_values"].batch_select_indices(rows)
    return {name: value[rows] if _is_by_row(value, count) else value for name, value in kwargs.items()}
