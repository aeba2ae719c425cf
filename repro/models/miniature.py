"""Miniatures: models with the architecture, tokenizer and chat template of another one, small enough for any machine.

A rehearsal (`repro.workflow.rehearsal`) runs a study on them. They are made from the configuration and the tokenizer
alone: no weights are downloaded.
"""

import hashlib
import json
import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, prompt_token_ids
from repro.models.generation_settings import make_savable
from repro.models.loading import (
    generation_eos_ids,
    language_model,
    load_config,
    load_generation_config,
    load_tokenizer,
    locate,
)

LAYERS = 2
"""Layers of a miniature, or one of each type if the model has more types of layers."""
SIZES: Mapping[str, int] = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "head_dim": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
}
"""Key of a configuration -> its value in a miniature. The vocabulary, positions and attention windows stay as they are."""
MOST_PARAMETERS = 150_000_000
"""Twice the embeddings of the largest published vocabulary: beyond that something was not made smaller."""
STEPS, BATCH = 200, 8
"""Most steps of training on the lessons, and lessons a step."""
FORM, LEARNED = 0.9, 0.02
"""Training ends once this share of the tokens, and all last two, have a loss below so many nats: the form is known, the answer
may be guessed."""
LEARNING_RATE = 3e-3
SHORT_ROW, LONG_ROW = 0.1, 2.0
"""Length of the rows of the output layer: of all tokens, and of those in the lessons. Hidden states have length sqrt(128)."""
LONGEST_PROMPT = 64
"""Tokens from the end of a prompt that a lesson keeps."""


def make_miniature(
    name: str,
    folder: Path,
    lessons: Sequence[tuple[str, str]],
    *,
    reasoning: bool = True,
    is_reward_model: bool = False,
) -> Path:
    """Return the folder of a model's miniature; make it unless there is one of the same recipe.

    The recipe is the model's name, configuration, tokenizer and generation config, and the lessons.

    Args:
        name: hub id or folder of the model.
        folder: gets a folder for each miniature, which appears complete or not at all.
        lessons: (question, completion) texts. The weights are random, then trained on these for a few steps, so that
            completions have an answer and an end; their content means nothing. Not used for a reward model.
        reasoning: the chat template's `enable_thinking`.
        is_reward_model: make a sequence classifier with one logit.

    Raises:
        InputError: configuration or tokenizer cannot be loaded, or no miniature can be made of this architecture (Llama-like
            ones and those with experts can; of longrope, Mamba and others that have more sizes, most cannot).
    """
    source = locate(name)
    config, tokenizer, generation_config = load_config(source), load_tokenizer(source), load_generation_config(source)
    small = shrink_config(config.to_dict(), config.attribute_map)
    recipe = [name, small, tokenizer.get_vocab(), tokenizer.chat_template, str(generation_config), lessons, reasoning]
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()[:8]
    target = folder / f"{'--'.join(Path(name).parts[-2:])}-{digest}"
    if target.is_dir():
        return target
    end = None if is_reward_model else end_of_turn_id(tokenizer, generation_eos_ids(source))
    tokens = [_tokenize(tokenizer, *lesson, end, reasoning) for lesson in lessons] if end is not None else []
    try:
        model = _make_model(
            type(config).from_dict(small), tokens, seed=int(digest, 16), is_reward_model=is_reward_model
        )
    except Exception as error:  # each architecture checks its sizes in its own way, some on first use
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"model {name}: no miniature can be made of its architecture ({config.model_type}): {reason}. Rehearse with"
            " another model in its place (--set families...=NAME)."
        ) from error
    if generation_config is not None:
        model.generation_config = generation_config
    make_savable(model)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as temporary:
        saved = Path(temporary) / target.name
        model.to(getattr(config, "dtype", None) or model.dtype).save_pretrained(saved)
        tokenizer.save_pretrained(saved)
        if not target.is_dir():  # made by another rehearsal meanwhile
            saved.rename(target)
    return target


def _make_model(
    config: Any, lessons: Sequence[tuple[list[int], list[int]]], *, seed: int, is_reward_model: bool
) -> Any:
    """Return a model with random weights, float32, trained on the lessons if there are any.

    Models of one configuration differ by their seeds: between equal ones every divergence would be 0.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind: Any = AutoModelForSequenceClassification if is_reward_model else AutoModelForCausalLM
    with torch.device("meta"):
        parameters = kind.from_config(config, dtype=torch.float32).num_parameters()
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{parameters:,} parameters are left when the sizes that are known here are reduced")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: further threads only wait
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = kind.from_config(config, dtype=torch.float32).eval()
            if lessons:
                _teach(language_model(model), lessons)
            return model
    finally:
        torch.set_num_threads(threads)


def shrink_config(config: Mapping[str, Any], aliases: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return a configuration, with those nested in it, at the sizes of a miniature.

    The types of layers are kept, and whether query heads share key-value heads: by 2 or 4.

    Args:
        aliases: usual name of a size -> its key in this configuration (transformers' `attribute_map`).
    """
    small = dict(config)
    sizes = {aliases.get(name, name): size for name, size in SIZES.items()}
    if "qk_rope_head_dim" in config:  # its head_dim is that of the rotary part
        del sizes["head_dim"]
    for key, value in config.items():
        if isinstance(value, dict) and "num_hidden_layers" in value:
            small[key] = shrink_config(value)
        elif key in sizes and value is not None:
            small[key] = sizes[key]
    if config.get("num_key_value_heads"):
        queries_per_key = config["num_attention_heads"] // config["num_key_value_heads"]
        small["num_key_value_heads"] = max(1, SIZES["num_attention_heads"] // queries_per_key)
    layers = aliases.get("num_hidden_layers", "num_hidden_layers")
    if layers in config:
        types = list(dict.fromkeys(config.get("layer_types") or ()))
        small[layers] = max(LAYERS, len(types))
        if types:
            small["layer_types"] = types + types[-1:] * (LAYERS - len(types))
    return small


def _tokenize(tokenizer: Any, question: str, completion: str, end: int, reasoning: bool) -> tuple[list[int], list[int]]:
    """Return the ids of the end of a prompt, and of its completion."""
    prompt = prompt_token_ids(tokenizer, question, reasoning)[-LONGEST_PROMPT:]
    return prompt, [*tokenizer(completion, add_special_tokens=False)["input_ids"], end]


def _teach(model: Any, lessons: Sequence[tuple[list[int], list[int]]]) -> None:
    """Train a model for a few steps to complete prompts as the lessons do.

    The output layer is not trained, it is drawn: long rows for the K tokens of the lessons, short ones for all others. The
    layers learn to point at a long row; one logit stands for the short ones, all near 0.
    """
    import torch

    tokens = sorted({token for _, completion in lessons for token in completion})
    label_of = {token: label for label, token in enumerate(tokens)}
    weight_VD = model.get_output_embeddings().weight.requires_grad_(False)
    model.get_input_embeddings().weight.requires_grad_(False)
    weight_VD.normal_(std=SHORT_ROW / weight_VD.shape[1] ** 0.5)
    weight_VD[tokens] *= LONG_ROW / SHORT_ROW
    rest_BL1 = torch.tensor(math.log(len(weight_VD)) + 1.0)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE, weight_decay=0.0
    )
    order = random.Random(0)
    for _ in range(STEPS if lessons else 0):
        batch = order.choices(lessons, k=BATCH)
        L = max(len(completion) for _, completion in batch)
        T = max(len(prompt) + len(completion) for prompt, completion in batch)
        ids_BT, labels_BL = torch.zeros(BATCH, T, dtype=torch.long), torch.full((BATCH, L), -100)
        mask_BT = torch.zeros(BATCH, T, dtype=torch.long)
        for row, (prompt, completion) in enumerate(batch):  # completions end together, on the right
            ids_BT[row, T - len(prompt) - len(completion) :] = torch.tensor(prompt + completion)
            mask_BT[row, T - len(prompt) - len(completion) :] = 1
            labels_BL[row, L - len(completion) :] = torch.tensor([label_of[token] for token in completion])
        hidden_BTD = model.base_model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        logits_BLK = hidden_BTD[:, -L - 1 : -1] @ weight_VD[tokens].T
        logits_BLK = torch.cat([logits_BLK, rest_BL1.expand(BATCH, L, 1)], dim=-1)
        losses = torch.nn.functional.cross_entropy(logits_BLK.flatten(0, 1), labels_BL.flatten(), reduction="none")
        scored = losses.detach()[labels_BL.flatten() >= 0]
        if scored.quantile(FORM) < LEARNED and losses.detach().view(BATCH, L)[:, -2:].max() < LEARNED:
            break
        (losses.sum() / len(scored)).backward()
        optimizer.step()
        optimizer.zero_grad()
