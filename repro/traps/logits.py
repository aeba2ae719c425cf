"""Checks and log-probabilities shared by all logit-based estimators.

Everything here is float64: it is the reference that the streaming pass is tested against.
"""

import torch
from torch import Tensor


def log_probs(
    logits: Tensor, *, vocab_size: int | None = None, mask: Tensor | None = None, name: str = "logits"
) -> Tensor:
    """Compute log softmax over the last axis, in float64. Differentiable.

    Args:
        logits: [.., V] any floating type; -inf marks an id that cannot occur.
        vocab_size: ids from here on are padding of the output layer and are cut off; None keeps all V.
        mask: [..] true where the position counts. Logits at masked positions are never read (padding may
            hold NaN) and their log-probabilities are uniform.
        name: of the logits, for error messages.

    Returns:
        [.., vocab_size] float64, nats; -inf where the logit is -inf.

    Raises:
        ValueError: NaN or +inf among the logits that count, a row without any finite logit, no vocabulary at
            all, or shapes that do not fit.
    """
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"{name} of shape {tuple(logits.shape)} have no vocabulary axis to normalise over")
    if vocab_size is not None:
        if not 1 <= vocab_size <= logits.shape[-1]:
            raise ValueError(f"vocab_size {vocab_size} does not fit {name} with {logits.shape[-1]} ids")
        logits = logits[..., :vocab_size]
    x = logits.double()
    if mask is not None:
        if mask.shape != x.shape[:-1]:
            raise ValueError(f"mask {tuple(mask.shape)} and {name} {tuple(logits.shape)} do not fit")
        x = torch.where(mask.bool()[..., None], x, 0.0)
    # The maximum is NaN, +inf or -inf exactly where a row cannot be normalised
    maximum = x.detach().amax(-1)
    if not bool(torch.isfinite(maximum).all()):
        _raise_not_finite(maximum, name)
    return x.log_softmax(-1)


def _raise_not_finite(maximum: Tensor, name: str) -> None:
    where = (~torch.isfinite(maximum)).nonzero()[0].tolist()
    worst = float(maximum[tuple(where)])
    what = "NaN" if worst != worst else "+inf" if worst > 0 else "no finite value"
    raise ValueError(f"{name} hold {what} at position {where}: a forward pass overflowed or a mask is missing")


def check_same_vocabulary(p_logits: Tensor, q_logits: Tensor, vocab_size: int | None) -> None:
    """Check that both vocabularies have the same size, or that `vocab_size` cuts them to their common part.

    Raises:
        ValueError: the sizes differ, or the positions do.
    """
    p, q = p_logits.shape, q_logits.shape
    if p[:-1] != q[:-1]:
        raise ValueError(f"p and q logits cover different positions: {tuple(p)} and {tuple(q)}")
    if vocab_size is None and p[-1] != q[-1]:
        raise ValueError(
            f"p and q vocabularies differ: {p[-1]} and {q[-1]} ids; with one tokenizer and padded output layers, "
            f"pass vocab_size={min(p[-1], q[-1])} or the tokenizer's own size"
        )


def realised_log_probs(logp: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Return the log-probability of the realised tokens; 0 where masked.

    Args:
        logp: [.., V] log-probabilities. token_ids: [..] ids; masked positions may hold anything (-100).
        mask: [..] true where the position counts.

    Raises:
        ValueError: an unmasked id outside the vocabulary, or shapes that do not fit.
    """
    V = logp.shape[-1]
    if token_ids.shape != logp.shape[:-1] or mask.shape != token_ids.shape:
        raise ValueError(
            f"token ids {tuple(token_ids.shape)}, mask {tuple(mask.shape)} and logits of {tuple(logp.shape)} do not fit"
        )
    keep = mask.bool()
    ids = torch.where(keep, token_ids, 0).long()
    outside = (ids < 0) | (ids >= V)
    if bool(outside.any()):
        raise ValueError(f"token id {int(ids[outside][0])} is outside the vocabulary of {V} ids")
    return torch.where(keep, logp.gather(-1, ids[..., None])[..., 0], 0.0)
