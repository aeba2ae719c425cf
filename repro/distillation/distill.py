"""Distil a student, from model folders to a model folder, by SFT, GKD-FKL or GKD-RKL, with resume."""

import contextlib
import copy
import functools
from pathlib import Path
from typing import Any

from datasets import Dataset

from repro.distillation import off_policy, on_policy, sft
from repro.distillation.config import DistillationConfig
from repro.distillation.pair import Vocabularies, check_pair, fit_vocabulary, load_frozen
from repro.distillation.traces import Trace, TraceReader, lost_ends, lost_ends_warning, select_traces
from repro.distillation.weighing import read_weights
from repro.errors import InputError
from repro.evaluation.thoughts import opens_in_thought
from repro.models.chat_tokens import end_of_turn_id, eos_token_ids, is_same_tokenizer, prompt_token_ids
from repro.models.generation_settings import neutral_generation_config
from repro.models.loading import generation_eos_ids, load_tokenizer
from repro.models.positions import check_length
from repro.models.template_hash import template_hash
from repro.progress import Progress
from repro.tasks.task import Item, RewardFunction
from repro.training.checkpoints import run_identity
from repro.training.optimisation import prompt_rows, trainer_arguments
from repro.training.prompts import check_prompts
from repro.training.resources import TrainingResources
from repro.training.sharding import prepare_sharding, shard_frozen
from repro.training.train import StateDict, load_model_and_tokenizer, save, summarise, train
from repro.training.vllm_policy import engine_arguments, memory_to_come

HISTORY_NAMES = {"sft": sft.HISTORY_NAMES, "gkd-fkl": off_policy.HISTORY_NAMES, "gkd-rkl": on_policy.HISTORY_NAMES}


def distill(
    config: DistillationConfig,
    *,
    student: Path | str,
    teacher: Path | str | None,
    items: list[Item],
    completions: Path | None,
    weights: Path | None = None,
    task_reward: RewardFunction,
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    resources: TrainingResources = TrainingResources(),
) -> dict[str, Any]:
    """Train the student (all weights).

    Args:
        student: folder with model and tokenizer, or a hub id.
        teacher: the same. sft also runs without one, and then reads the traces as text.
        items: training prompts, of one task or several.
        completions: the teacher's rollouts (Parquet) for sft and gkd-fkl; rollouts of other items are ignored.
        weights: for sft, a weight per completion (`weighing.WEIGHTS`, Parquet) that multiplies its loss.
        task_reward: maps items and completion texts to rewards, NaN where not scored; gkd-rkl logs them as accuracy.
        out: receives model/ (float32, with tokenizer) and history.jsonl.
        work: folder for checkpoints; an interrupted run resumes from the newest complete one.
        resources: not part of the result's identity.

    Returns:
        steps, prompts, traces (off-policy), parameters, and the mean of each metric over the last tenth of the steps.

    Raises:
        InputError: no teacher or rollout file, a pair without a common vocabulary, or nothing to learn from.
    """
    vocabularies = _check_inputs(config, student, teacher, items, completions)
    model, tokenizer = load_model_and_tokenizer(student)
    if vocabularies is not None:
        fit_vocabulary(model, vocabularies.compared)
    end_id = end_of_turn_id(tokenizer, model.generation_config.eos_token_id)
    configs = copy.deepcopy((model.config, model.generation_config))  # the trainer overwrites their special tokens
    model.generation_config = neutral_generation_config(model)
    parameters = model.num_parameters()
    rows, counts = _training_rows(config, tokenizer, end_id, student, teacher, items, completions, weights, seed)
    settings, templates = config.model_dump(mode="json"), [template_hash(tokenizer)]
    if config.divergence is None:  # keeps run identities from before losses could be chosen
        del settings["divergence"]
    run = run_identity(settings, seed, rows, templates=templates, sharded=resources.shard)
    if config.method == "sft":
        resources = sft.limit_micro_batch(resources)
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
    if config.method == "sft" and shared["gradient_accumulation_steps"] > 1:
        # The other trainers sort each step's sequences themselves
        rows = sft.sort_steps(rows, config.sequences_per_step)
    frozen = load_frozen(teacher, vocabularies, resources.shard) if config.method != "sft" else None
    reference = load_frozen(student, vocabularies, resources.shard) if config.reads_reference else None
    with _engine(config, model, tokenizer, items, work, resources, frozen) as engine:
        arguments = _method_arguments(config, engine, shared)
        prepare_sharding(arguments, model)
        trainer = _make_trainer(
            config,
            teacher=frozen,
            reference=reference,
            items=items,
            task_reward=task_reward,
            model=model,
            args=arguments,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
        )
        names, note = HISTORY_NAMES[config.method], ("loss", "accuracy", "length")
        memory = train(
            trainer,
            run=run,
            seed=seed,
            work=work,
            progress=progress,
            names=names,
            note=note,
            checkpoint_minutes=resources.checkpoint_minutes,
            event_files=resources.event_files,
        )
    logged = save(trainer, out, names, functools.partial(_save_student, student, configs, out / "model"))
    counts |= {**(vocabularies.record() if vocabularies else {}), "parameters": parameters}
    cap = config.max_completion_tokens
    warnings = lost_ends_warning(counts, cap)
    return memory | summarise(trainer.state.global_step, logged, counts, cap=cap, warnings=warnings)


def _check_inputs(
    config: DistillationConfig,
    student: Path | str,
    teacher: Path | str | None,
    items: list[Item],
    completions: Path | None,
) -> Vocabularies | None:
    """Return the vocabularies of the pair if the method compares distributions, else None."""
    if not items:
        raise InputError("no training items: give the task more rows, or another split.")
    if config.method != "gkd-rkl" and completions is None:
        raise InputError(f"method '{config.method}' learns from stored completions: make them with `repro sample`.")
    if config.method == "sft":
        return None
    if teacher is None:
        raise InputError(f"method '{config.method}' needs the teacher's distribution: give a teacher model.")
    return check_pair(teacher, student)


def _training_rows(
    config: DistillationConfig,
    tokenizer: Any,
    end_id: int,
    student: Path | str,
    teacher: Path | str | None,
    items: list[Item],
    completions: Path | None,
    weights: Path | None,
    seed: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the training rows in order, and counts for the summary: prompts and, off-policy, traces and lost ends."""
    visits = config.steps * config.sequences_per_step
    readers = [student, *([teacher] if teacher is not None and config.method != "sft" else [])]
    if config.method == "gkd-rkl":
        check_prompts(readers, tokenizer, items, config.max_completion_tokens, config.reasoning)
        rollouts = config.rollouts_per_prompt
        rows = prompt_rows(items, visits // rollouts, seed, rollouts)
        return rows, {"prompts": len({row["item"] for row in rows})}
    assert completions is not None  # _check_inputs
    reader = TraceReader(
        tokenizer=tokenizer,
        end_id=end_id,
        has_shared_tokens=teacher is not None and is_same_tokenizer(load_tokenizer(teacher), tokenizer),
        kind=config.traces,
        cap=config.max_completion_tokens,
        in_thought=teacher is not None and opens_in_thought(teacher, reasoning=config.reasoning),
    )
    traces, available = select_traces(
        completions, items, visits, seed, reader, read_weights(weights) if weights else None
    )
    prompts = {item: prompt_token_ids(tokenizer, item.prompt, config.reasoning) for item in {t.item for t in traces}}
    _check_traces(readers, prompts, traces)
    is_sft = config.method == "sft"
    rows = [sft.sft_row(prompts[t.item], t) if is_sft else off_policy.off_policy_row(t) for t in traces]
    ends = eos_token_ids(tokenizer, generation_eos_ids(student))
    counts = {"prompts": len({trace.item for trace in traces}), "traces": available}
    return rows, counts | lost_ends(traces, {end_id, *ends})


def _check_traces(readers: list[Path | str], prompts: dict[Item, list[int]], traces: list[Trace]) -> None:
    """Check that prompts and traces fit the context length of the models that read them."""
    lengths = [(len(prompts[trace.item]), len(trace.completion_ids), trace.item.id) for trace in traces]
    prompt, completion, item = max(lengths, key=lambda length: length[0] + length[1])
    for model in readers:
        check_length(model, prompt, completion, f"the prompt of item {item}")


def _engine(
    config: DistillationConfig,
    model: Any,
    tokenizer: Any,
    items: list[Item],
    work: Path,
    resources: TrainingResources,
    teacher: Any,
) -> contextlib.AbstractContextManager[dict[str, Any]]:
    """Yield the arguments of the sampling engine; empty off-policy."""
    if config.method != "gkd-rkl":
        return contextlib.nullcontext({})
    to_come = memory_to_come(model, None, teacher if resources.shard else None, resources)
    return engine_arguments(config, model, tokenizer, items, work, resources.server, still_to_come=to_come)


def _method_arguments(config: DistillationConfig, engine: dict[str, Any], shared: dict[str, Any]) -> Any:
    if config.method == "sft":
        return sft.sft_config(shared)
    return on_policy.divergence_config(config, engine, shared)


def _make_trainer(
    config: DistillationConfig,
    *,
    teacher: Any,
    reference: Any,
    items: list[Item],
    task_reward: RewardFunction,
    **arguments: Any,
) -> Any:
    """Build TRL's trainer for the method; teacher and reference (the student before training) are models or None."""
    if config.method == "sft":
        return sft.trainer_for(arguments["train_dataset"])(**arguments)
    arguments |= {"loss": config.divergence, "reference_model": reference, "teacher_model": teacher}
    if config.method == "gkd-fkl":
        trainer: Any = off_policy.OffPolicyTrainer(**arguments)
    else:
        trainer = on_policy.OnPolicyTrainer(items=items, task_reward=task_reward, **arguments)
    trainer.teacher_model = shard_frozen(trainer.accelerator, trainer.teacher_model)
    if reference is not None:
        trainer.reference_model = shard_frozen(trainer.accelerator, trainer.reference_model)
    return trainer


def _save_student(
    student: Path | str, configs: tuple[Any, Any], folder: Path, model: Any, state: StateDict | None
) -> None:
    model.config, model.generation_config = configs
    model.save_pretrained(folder, state_dict=state)
    load_tokenizer(student).save_pretrained(folder)
