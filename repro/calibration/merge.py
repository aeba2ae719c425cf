"""Save a calibrated teacher: its adapter, and the merged model."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from repro.calibration.kl_match import Match, match_kl
from repro.calibration.kl_match_size import matching_bytes
from repro.calibration.rounding import (
    completion_logits,
    mean_token_kl,
    round_weights,
    sample_sequences,
    update_survival,
)
from repro.models.loading import load_for_training, load_tokenizer
from repro.system.gpu_memory import free_gpu_memory
from repro.training.train import StateDict

GIB = 2**30
logger = logging.getLogger(__name__)


def save_adapter_and_merged(
    teacher: Path | str,
    out: Path,
    prompt_ids: list[list[int]],
    tokens: int,
    seed: int,
    measured: dict[str, float | None],
    match: Match | None,
    policy: Any,
    state: StateDict | None,
) -> None:
    """Save the adapter and the merged model, shrunk first if a KL must be matched; store measurements in `measured`.

    For the other arguments see `save_merged`.
    """
    adapter = out / "adapter"
    policy.save_pretrained(adapter, state_dict=state)
    (adapter / "README.md").unlink(missing_ok=True)  # an empty model card
    _make_reproducible(adapter / "adapter_config.json")
    if match is not None:
        if state is None and torch.cuda.is_available():
            policy.to("meta")  # saved and not read again: frees its memory for the model that is shrunk
        measured |= shrink_to_match(teacher, adapter, match, seed)
    measured |= save_merged(teacher, adapter, out / "model", prompt_ids, tokens, seed)


def shrink_to_match(base: Path | str, adapter: Path, match: Match, seed: int) -> dict[str, float | None]:
    """Shrink a saved adapter, in its folder, to the KL it must match (`kl_match.match_kl`)."""
    policy = PeftModel.from_pretrained(load_for_training(base).eval(), str(adapter))
    if _fits_gpu(policy):
        policy.to("cuda")
    figures = match_kl(policy, match, seed)
    policy.save_pretrained(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    _make_reproducible(adapter / "adapter_config.json")
    return figures


def _fits_gpu(policy: Any) -> bool:
    """Return True if the KL can be matched on the GPU; warn if there is a GPU without enough free memory."""
    if not torch.cuda.is_available():
        return False
    free_gpu_memory()
    free, _ = torch.cuda.mem_get_info()
    sizes = policy.config.get_text_config()
    head_size = getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads
    keys = sizes.num_key_value_heads * head_size
    needed = matching_bytes(policy.num_parameters(), sizes.num_hidden_layers, keys, sizes.vocab_size)
    if needed > free:
        logger.warning(
            "the KL is matched on the CPU, which takes hours: it needs %.1f GiB, the GPU has %.1f free",
            needed / GIB,
            free / GIB,
        )
    return bool(needed <= free)


def _make_reproducible(config: Path) -> None:
    """Make the file identical on every machine: drop the local path (record.json names the base), sort the modules."""
    content = json.loads(config.read_text())
    content["base_model_name_or_path"] = None
    content["target_modules"] = sorted(content["target_modules"])
    config.write_text(json.dumps(content, indent=2, sort_keys=True))


def save_merged(
    base: Path | str, adapter: Path, folder: Path, prompt_ids: list[list[int]], tokens: int, seed: int
) -> dict[str, float | None]:
    """Write base + adapter as an ordinary model folder, in float32, with the base's tokenizer and generation config.

    The base is reloaded, because the trained object carries the trainer's patches.

    Args:
        prompt_ids: prompts for the token KL, which is measured on completions of at most `tokens` tokens.

    Returns:
        How much of the calibration survives bfloat16 (`rounding`): bf16_kept, bf16_erased; bf16_kl and calibration_kl,
        the mean KL(merged||rounded) and KL(merged||base) on the merged model's completions, nats per token.
    """
    model = load_for_training(base).eval()
    policy = PeftModel.from_pretrained(model, str(adapter))
    survival = update_survival(policy)
    sequences = sample_sequences(model, prompt_ids, tokens, seed)
    with policy.disable_adapter():
        untouched = completion_logits(model, prompt_ids, sequences)
    merged = policy.merge_and_unload()
    merged.generation_config = model.generation_config
    merged.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    calibrated = completion_logits(merged, prompt_ids, sequences)
    round_weights(merged)
    return {
        "bf16_kept": survival["kept"],
        "bf16_erased": survival["erased"],
        "bf16_kl": mean_token_kl(calibrated, completion_logits(merged, prompt_ids, sequences)),
        "calibration_kl": mean_token_kl(calibrated, untouched),
    }
