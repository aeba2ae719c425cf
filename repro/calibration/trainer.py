"""Calibrate a teacher: Algorithm 1 from model folders to a model folder, with LoRA and resume."""

import functools
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig

from repro.calibration import kl_match, kl_match_size
from repro.calibration.config import CalibrationConfig
from repro.calibration.control_rewards import ControlReward
from repro.calibration.figures import HISTORY_NAMES
from repro.calibration.grpo import CalibrationTrainer, grpo_config
from repro.calibration.merge import save_adapter_and_merged
from repro.calibration.reward import TargetScorer
from repro.calibration.rounding import PROMPTS, TOKENS, rounding_warning
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, has_same_text_tokens, prompt_token_ids
from repro.models.generation_settings import neutral_generation_config
from repro.models.loading import load_tokenizer
from repro.models.template_hash import template_hash
from repro.progress import Progress
from repro.tasks.task import Item, RewardFunction
from repro.training.checkpoints import run_identity
from repro.training.optimisation import prompt_rows, trainer_arguments
from repro.training.prompts import check_prompts
from repro.training.resources import TrainingResources
from repro.training.sharding import prepare_sharding
from repro.training.train import load_model_and_tokenizer, save, summarise, train
from repro.training.vllm_policy import engine_arguments, importance_arguments, memory_to_come


def calibrate(
    config: CalibrationConfig,
    *,
    teacher: Path | str,
    target: Path | str,
    prompts_of: Path | str | None = None,
    matches: Path | None = None,
    items: list[Item],
    task_reward: RewardFunction,
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    resources: TrainingResources = TrainingResources(),
) -> dict[str, Any]:
    """Calibrate a teacher (Algorithm 1).

    Args:
        teacher, target: folders with model and tokenizer, or hub ids; the two tokenizers may differ (Eq 11).
        prompts_of: a student that provides the chat template and tokenizer of the teacher's prompts, as in its
            distillation; None for the teacher's own.
        matches: artifact of a calibration that moved its teacher as far as this one should (`kl_match`); None for no
            bound.
        items: training prompts, of one task or several.
        task_reward: maps items and completion texts to r_task.
        out: receives model/ (merged weights, float32, with tokenizer), adapter/ and history.jsonl.
        work: folder for checkpoints; an interrupted run resumes from the newest complete one.
        resources: not part of the result's identity.

    Returns:
        steps, prompts, parameters, and the mean of each metric over the last tenth of the steps.

    Raises:
        InputError: no items, a model without chat template or end token, a `prompts_of` with another tokenizer, or a
            step that the processes cannot divide evenly.
    """
    if not items:
        raise InputError("no training items: give the task more rows, or another split.")
    policy, tokenizer = load_model_and_tokenizer(teacher)
    end_of_turn_id(tokenizer, policy.generation_config.eos_token_id)  # raises if it cannot be prompted or stop
    prompt_tokenizer = tokenizer if prompts_of is None else _shared_tokenizer(tokenizer, prompts_of)
    check_prompts([teacher], prompt_tokenizer, items, config.max_completion_tokens, config.reasoning)
    check_prompts([target], load_tokenizer(target), items, config.max_completion_tokens, config.reasoning)
    policy.generation_config = neutral_generation_config(policy)
    parameters = policy.num_parameters()
    shared = _trainer_arguments(config, parameters=parameters, seed=seed, work=work, resources=resources)
    rows = prompt_rows(items, config.steps * config.prompts_per_step, seed)
    templates = [template_hash(prompt_tokenizer), template_hash(load_tokenizer(target))]
    run = run_identity(config.identity(), seed, rows, templates=templates, sharded=resources.shard)
    blind_seed = seed if config.reward == "blind" else None
    scorer = TargetScorer(target, tokenizer, reasoning=config.reasoning, blind_seed=blind_seed)
    vocabulary = policy.get_output_embeddings().weight.shape[0]
    to_come = memory_to_come(policy, adapter_parameters(policy, config.lora_rank), None, resources)
    with engine_arguments(
        config, policy, prompt_tokenizer, items, work, resources.server, still_to_come=to_come
    ) as engine:
        arguments = grpo_config(config, engine | (importance_arguments() if engine else {}), shared)
        prepare_sharding(arguments, policy)
        trainer = CalibrationTrainer(
            items=items,
            task_reward=task_reward,
            target=scorer,
            config=config,
            control_reward=ControlReward(config, vocabulary, seed) if config.is_control_reward else None,
            model=policy,
            args=arguments,
            processing_class=tokenizer,
            peft_config=_lora_config(config),
            train_dataset=Dataset.from_list(rows),
        )
        trainer.prompt_tokenizer = prompt_tokenizer
        if matches is not None and (stop := kl_match.stop_beyond(matches)):
            trainer.add_callback(stop)
        note = ("task_reward", "r_cal", "control_reward", "kl", "length")
        memory = train(
            trainer,
            run=run,
            seed=seed,
            work=work,
            progress=progress,
            names=HISTORY_NAMES,
            note=note,
            checkpoint_minutes=resources.checkpoint_minutes,
            event_files=resources.event_files,
        )
    cap = config.max_completion_tokens
    rounded_prompts = _prompt_ids(prompt_tokenizer, items[:PROMPTS], config)
    match = None if matches is None else _match(matches, prompt_tokenizer, items, config)
    measured: dict[str, float | None] = {}
    save_model = functools.partial(
        save_adapter_and_merged, teacher, out, rounded_prompts, min(TOKENS, cap), seed, measured, match
    )
    logged = save(trainer, out, HISTORY_NAMES, save_model)
    counts = {"prompts": len({row["item"] for row in rows}), "parameters": parameters} | measured
    warnings = rounding_warning(measured) | kl_match.warning(measured) if measured else {}  # measured by the first rank
    return memory | summarise(trainer.state.global_step, logged, counts, cap=cap, warnings=warnings)


def _match(matches: Path, tokenizer: Any, items: list[Item], config: CalibrationConfig) -> kl_match.Match:
    """Return the distance to match, that of the calibration in `matches`, with prompts spread over the items."""
    spread = items[:: max(1, len(items) // kl_match_size.PROMPTS)][: kl_match_size.PROMPTS]
    tokens = min(kl_match_size.TOKENS, config.max_completion_tokens)
    return kl_match.Match(matches / "model", _prompt_ids(tokenizer, spread, config), tokens)


def _prompt_ids(tokenizer: Any, items: list[Item], config: CalibrationConfig) -> list[list[int]]:
    return [prompt_token_ids(tokenizer, item.prompt, config.reasoning) for item in items]


def _shared_tokenizer(tokenizer: Any, prompts_of: Path | str) -> Any:
    """Return the tokenizer of `prompts_of`, checked to give the same ids as the teacher's for every text."""
    other_tokenizer = load_tokenizer(prompts_of)
    if not has_same_text_tokens(tokenizer, other_tokenizer):
        raise InputError(
            f"calibration_template=student: {prompts_of} and the teacher ({tokenizer.name_or_path}) have different"
            " tokenizers, so the teacher cannot read the student's prompts. Use calibration_template=teacher."
        )
    return other_tokenizer


def _trainer_arguments(
    config: CalibrationConfig, *, parameters: int, seed: int, work: Path, resources: TrainingResources
) -> dict[str, Any]:
    sequences = config.sequences_per_step
    shared = trainer_arguments(
        work=work,
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_fraction=0.0,
        seed=seed,
        sequences=sequences,
        parameters=parameters,
        resources=resources,
    )
    micro_batch = shared["per_device_train_batch_size"]
    if config.loss_type == "bnpo" and micro_batch != sequences:
        raise InputError(
            f"loss_type 'bnpo' averages over the tokens of each micro-batch, so {micro_batch} of {sequences}"
            " completions at once would be a different algorithm: use 'dapo', or one device and no micro-batch."
        )
    return shared


def adapter_parameters(policy: Any, rank: int) -> int:
    """Count the parameters of adapters on all linear layers except the output layer."""
    head = policy.get_output_embeddings()
    layers = [module for module in policy.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def _lora_config(config: CalibrationConfig) -> LoraConfig:
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
