"""DOGe: train a teacher's output layer so that its reasoning misleads a proxy of the thief's student; answers stay."""

import bisect
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments

from repro.distillation.pair import check_pair
from repro.distillation.traces import Trace, TraceReader, select_traces
from repro.guards.config import OutputLayerConfig
from repro.guards.output_layer_trainer import HISTORY_NAMES, OutputLayerTrainer, collate
from repro.guards.rewriters import answer_start
from repro.models.chat_tokens import end_of_turn_id, prompt_token_ids
from repro.models.loading import load_for_training, load_model, load_tokenizer
from repro.models.positions import check_length
from repro.models.template_hash import template_hash
from repro.progress import Progress
from repro.tasks.task import Item
from repro.training.buckets import order_by_length
from repro.training.checkpoints import run_identity
from repro.training.optimisation import trainer_arguments
from repro.training.resources import TrainingResources
from repro.training.sharding import prepare_sharding
from repro.training.train import StateDict, load_model_and_tokenizer, save, summarise, train


def reasoning_tokens(tokenizer: Any, completion_ids: Sequence[int]) -> int:
    """Count the tokens of a completion before its final answer; 0 without an answer, since an owner who cannot tell
    answer from reasoning would mislead honest users."""

    def text(length: int) -> str:
        return str(tokenizer.decode(list(completion_ids[:length]), skip_special_tokens=True))

    complete = text(len(completion_ids))
    start = answer_start(complete)
    if start == len(complete):
        return 0
    return bisect.bisect_right(range(len(completion_ids) + 1), start, key=lambda length: len(text(length))) - 1


def untie(model: Any) -> Any:
    """Untie the output layer from the embeddings, in weights and configuration; return the model."""
    layer = model.get_output_embeddings()
    if layer.weight is model.get_input_embeddings().weight:
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    return model


def train_output_layer(
    config: OutputLayerConfig,
    *,
    teacher: Path | str,
    proxy: Path | str,
    items: list[Item],
    completions: Path,
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    resources: TrainingResources = TrainingResources(),
) -> dict[str, Any]:
    """Train the output layer of a teacher on its own completions, away from the proxy before each final answer.

    Args:
        teacher, proxy: folders with model and tokenizer, or hub ids, with the same text tokens.
        items: training prompts, of one task or several.
        completions: the teacher's rollouts (Parquet).
        out: receives model/ (float32, untied, with tokenizer) and history.jsonl.
        work: folder for checkpoints; an interrupted run resumes from the newest complete one.
        resources: not part of the result's identity.

    Returns:
        steps, prompts, traces, reasoning_tokens (share of the completion tokens), parameters (trained ones), and the
        mean of each metric over the last tenth of the steps.

    Raises:
        InputError: a pair without a common vocabulary, or nothing to learn from.
    """
    check_pair(teacher, proxy)
    model, tokenizer = load_model_and_tokenizer(teacher)
    freeze_body(untie(model))
    rows, counts = _read_rows(config, model, tokenizer, items, completions, seed)
    _check_lengths([teacher, proxy], rows)
    run = run_identity(
        config.model_dump(mode="json"), seed, rows, templates=[template_hash(tokenizer)], sharded=resources.shard
    )
    arguments = _arguments(config, model.num_parameters(), seed, work, resources)
    if arguments.gradient_accumulation_steps > 1:
        lengths = [len(row["prompt_ids"]) + len(row["completion_ids"]) for row in rows]
        rows = [rows[n] for n in order_by_length(lengths, config.sequences_per_step)]
    prepare_sharding(arguments, model)
    trainer = OutputLayerTrainer(
        proxy=load_model(proxy, to_gpu=not resources.shard).requires_grad_(False),
        config=config,
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=functools.partial(collate, pad_id=tokenizer.pad_token_id),
    )
    memory = train(
        trainer,
        run=run,
        seed=seed,
        work=work,
        progress=progress,
        names=HISTORY_NAMES,
        note=("loss", "nll", "proxy_kl"),
        checkpoint_minutes=resources.checkpoint_minutes,
        event_files=resources.event_files,
    )
    logged = save(trainer, out, HISTORY_NAMES, functools.partial(save_with_output_layer, teacher, out / "model"))
    counts["parameters"] = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return memory | summarise(trainer.state.global_step, logged, counts, cap=config.max_completion_tokens)


def _read_rows(
    config: OutputLayerConfig, model: Any, tokenizer: Any, items: list[Item], completions: Path, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the training rows in order, and their counts for the summary."""
    end_id = end_of_turn_id(tokenizer, model.generation_config.eos_token_id)
    reader = TraceReader(
        tokenizer=tokenizer, end_id=end_id, has_shared_tokens=True, kind="full", cap=config.max_completion_tokens
    )
    traces, available = select_traces(completions, items, config.steps * config.sequences_per_step, seed, reader)
    rows = training_rows(config, tokenizer, traces)
    tokens = sum(len(row["completion_ids"]) for row in rows)
    counts = {
        "prompts": len({trace.item for trace in traces}),
        "traces": available,
        "reasoning_tokens": sum(row["guarded"] for row in rows) / tokens,
    }
    return rows, counts


def _check_lengths(models: Sequence[Path | str], rows: Sequence[dict[str, Any]]) -> None:
    lengths = [(len(row["prompt_ids"]), len(row["completion_ids"])) for row in rows]
    prompt, completion = max(lengths, key=sum)
    for model in models:
        check_length(model, prompt, completion, "a training row's prompt")


def freeze_body(model: Any) -> None:
    """Freeze everything except the output layer."""
    model.requires_grad_(False)
    model.get_output_embeddings().requires_grad_(True)


def training_rows(config: OutputLayerConfig, tokenizer: Any, traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """Return the prompt and completion of each visit, and the number of reasoning tokens in the completion."""
    prompts = {item: prompt_token_ids(tokenizer, item.prompt, config.reasoning) for item in {t.item for t in traces}}
    guarded = {ids: reasoning_tokens(tokenizer, ids) for ids in {tuple(trace.completion_ids) for trace in traces}}
    return [
        {
            "prompt_ids": prompts[trace.item],
            "completion_ids": trace.completion_ids,
            "guarded": guarded[tuple(trace.completion_ids)],
        }
        for trace in traces
    ]


def _arguments(
    config: OutputLayerConfig, parameters: int, seed: int, work: Path, resources: TrainingResources
) -> TrainingArguments:
    shared = trainer_arguments(
        work=work,
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_fraction=config.warmup_fraction,
        seed=seed,
        sequences=config.sequences_per_step,
        parameters=parameters,
        resources=resources,
    )
    shared["gradient_checkpointing"] = False  # the frozen body keeps no activations
    return TrainingArguments(**shared, remove_unused_columns=False, train_sampling_strategy="sequential")


def save_with_output_layer(teacher: Path | str, folder: Path, trained: Any, state: StateDict | None) -> None:
    """Save the teacher, reloaded and untied, with the trained output layer.

    Args:
        state: the trained weights of a sharded model; None to take them from `trained`.
    """
    weights = {name: weight for name, weight in trained.named_parameters() if weight.requires_grad}
    if state is not None:
        weights = {name: state[name] for name in weights}
    model = untie(load_for_training(teacher))
    model.load_state_dict(weights, strict=False)
    model.save_pretrained(folder)
    load_tokenizer(teacher).save_pretrained(folder)
