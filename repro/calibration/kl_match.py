"""Make a control move its teacher as far as a reference calibration did: equal KL to the start, whatever the reward.

Training ends once its KL estimate exceeds the reference's. The update is then shrunk, theta_0 + s (theta - theta_0), to
the s at which the KL measured here equals the reference's. Both KLs are measured the same way: the calibrated teacher
samples completions of the same prompts with the same random numbers, and KL(p_phi||p_T) is taken over the full
vocabulary at each of their tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback

from repro.calibration.kl_match_size import AT_ONCE, COMPLETIONS, SAMPLED_TOKENS
from repro.models.generation_settings import neutral_generation
from repro.models.loading import load_for_training
from repro.models.padded_batches import padded_batches
from repro.traps.token_kl import token_kl

Ids = tuple[int, ...]
"""Token ids of a text."""
TOLERANCE = 0.1
"""ASSUMED: two KLs match up to this relative difference. In the embedded world the training seed alone changes the KL
by more: 0.2 to 0.4 nats per token at eta = -0.5."""
BEYOND, IN_A_ROW = 1.5, 3
"""Training ends after this many consecutive steps with at least this multiple of the reference's KL: an update can be
shrunk but not grown, and the KL estimate during training (k3) is noisy."""
_HALVINGS = 12  # of the interval of s


@dataclass(frozen=True)
class Match:
    """The distance to match: the folder of the reference's calibrated model (its adapter lies beside it), the prompts,
    and the completion cap."""

    calibrated: Path
    prompt_ids: Sequence[list[int]]
    tokens: int


class StopBeyond(TrainerCallback):
    """Ends training once the logged KL of each of the last `IN_A_ROW` steps is at least `kl`, nats per token."""

    def __init__(self, kl: float) -> None:
        self.kl = kl

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = [entry["kl"] for entry in state.log_history if "kl" in entry][-IN_A_ROW:]
        if len(last) == IN_A_ROW and min(last) >= self.kl:
            control.should_training_stop = True


def stop_beyond(artifact: Path) -> StopBeyond | None:
    """Return the callback that matches the calibration in that artifact; None if its history has no KL."""
    rows = [json.loads(line) for line in (artifact / "history.jsonl").read_text().splitlines()]
    steps = [row["kl"] for row in rows if row.get("kl") is not None]
    return StopBeyond(BEYOND * median(steps[-max(1, len(steps) // 4) :])) if steps else None


def match_kl(policy: Any, match: Match, seed: int) -> dict[str, float | None]:
    """Shrink a LoRA update in place until its teacher is as far from the start as the reference teacher.

    Args:
        policy: peft model, not merged, with the same start; weights float32.
        seed: seed of the completions.

    Returns:
        match_kl: the reference's KL to the start, nats per token; match_reached: this one's; match_scale: s, at most 1;
        matched: 1 if the two differ by at most `TOLERANCE`, else 0. An update that is too small is left unchanged.
    """
    wanted = _wanted(policy, match, seed)
    weights = [p for name, p in policy.named_parameters() if "lora_B" in name]
    trained = [p.detach().clone() for p in weights]

    def distance_at(scale: float) -> float:
        with torch.no_grad():
            for parameter, full in zip(weights, trained):
                parameter.copy_(full * scale)
        return _distance(policy, policy, match, seed)

    low, high, scale = 0.0, 1.0, 1.0
    reached = distance_at(scale)
    for _ in range(_HALVINGS):
        if abs(reached - wanted) <= TOLERANCE * wanted or (scale == 1.0 and reached < wanted):
            break
        low, high = (scale, high) if reached < wanted else (low, scale)
        scale = (low + high) / 2
        reached = distance_at(scale)
    return {
        "match_kl": wanted,
        "match_reached": reached,
        "match_scale": scale,
        "matched": float(abs(reached - wanted) <= TOLERANCE * wanted),
    }


def warning(measured: Mapping[str, float | None]) -> dict[str, str]:
    """Return {"KL match": message} if a distance should have been matched but was not, else {}."""
    reached, wanted = measured.get("match_reached"), measured.get("match_kl")
    if measured.get("matched", 1.0) or reached is None or wanted is None:
        return {}
    advice = (
        "train it further, with more steps or a larger learning rate"
        if reached < wanted
        else "scaling the update down came no closer, so the two teachers cannot be compared"
    )
    return {"KL match": f"the KL to the start is {reached:.3g} nats per token and should match {wanted:.3g}: {advice}"}


def _wanted(policy: Any, match: Match, seed: int) -> float:
    """Return the KL to match. A GPU may not fit a second model: there, the reference's adapter is put on this base."""
    if not _is_on_gpu(policy):
        return _distance(load_for_training(match.calibrated).eval(), policy, match, seed)
    trained_adapter = policy.active_adapter
    policy.load_adapter(str(match.calibrated.with_name("adapter")), "matched")
    policy.set_adapter("matched")
    try:
        return _distance(policy, policy, match, seed)
    finally:
        policy.set_adapter(trained_adapter)
        policy.delete_adapter("matched")


def _is_on_gpu(policy: Any) -> bool:
    return bool(policy.device.type == "cuda")


@torch.no_grad()
def _distance(model: Any, policy: Any, match: Match, seed: int) -> float:
    """Return KL(model||start) on the model's completions, nats per token; the start is `policy` without its adapter.

    Duplicate completions of a prompt are scored once, and only the logits of `AT_ONCE` completions are in memory.
    """
    sequences = _sample(model, match.prompt_ids, match.tokens, seed)
    distinct = list(dict.fromkeys(sequences))
    kl_by_sequence: dict[tuple[Ids, Ids], torch.Tensor] = {}
    for first in range(0, len(distinct), AT_ONCE):
        part = distinct[first : first + AT_ONCE]
        calibrated = [_logits(model, *sequence) for sequence in part]
        with policy.disable_adapter():
            start = [_logits(policy, *sequence) for sequence in part]
        kl_by_sequence |= {sequence: token_kl(*logits) for sequence, *logits in zip(part, calibrated, start)}
    return float(torch.cat([kl_by_sequence[sequence] for sequence in sequences]).mean())


def _sample(model: Any, prompt_ids: Sequence[list[int]], tokens: int, seed: int) -> list[tuple[Ids, Ids]]:
    """Sample completions of all prompts at temperature 1; return (prompt, completion) ids."""
    batches = padded_batches(prompt_ids, lambda ids: COMPLETIONS * (len(ids) + tokens), SAMPLED_TOKENS)
    devices = [model.device] if model.device.type == "cuda" else []
    pairs = []
    with torch.random.fork_rng(devices):
        for number, batch in enumerate(batches):
            torch.manual_seed(seed + number)
            pairs += _sample_batch(model, batch, tokens)
    return pairs


def _sample_batch(model: Any, prompt_ids: Sequence[list[int]], tokens: int) -> list[tuple[Ids, Ids]]:
    declared = model.generation_config.eos_token_id
    ends = set(declared if isinstance(declared, list) else [declared])
    width = max(map(len, prompt_ids))
    ids_BT = torch.full((len(prompt_ids), width), min(ends))
    mask_BT = torch.zeros_like(ids_BT)
    for row, ids in enumerate(prompt_ids):
        ids_BT[row, width - len(ids) :] = torch.tensor(ids)
        mask_BT[row, width - len(ids) :] = 1
    with neutral_generation(model):
        out_NT = model.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            do_sample=True,
            top_k=0,
            num_return_sequences=COMPLETIONS,
            max_new_tokens=tokens,
            pad_token_id=min(ends),
        )
    pairs = []
    for row, sampled in enumerate(out_NT[:, width:].tolist()):
        end = next((n for n, token in enumerate(sampled) if token in ends), len(sampled))
        pairs.append((tuple(prompt_ids[row // COMPLETIONS]), tuple(sampled[: end + 1])))
    return pairs


def _logits(model: Any, prompt: Ids, completion: Ids) -> torch.Tensor:
    """Return the logits [T, V] that predict the T tokens of a completion."""
    ids_1T = torch.tensor([[*prompt, *completion]], device=model.device)
    return model(input_ids=ids_1T, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
