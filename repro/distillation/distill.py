"""Distil a student: from folders to a folder, by SFT, GKD-FKL or GKD-RKL, with resume."""

import contextlib
import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from datasets import Dataset
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from repro.distillation import off_policy, on_policy, sft
from repro.distillation.config import DistillationConfig
from repro.distillation.on_policy import TaskReward
from repro.distillation.pair import Vocabularies, check_pair, fit_vocabulary
from repro.distillation.traces import Trace, TraceReader, select_traces
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id, is_same_tokenizer
from repro.models.loading import load_for_training, load_model, load_tokenizer, prompt_token_ids
from repro.progress import Progress
from repro.tasks import Item
from repro.training import buckets, checkpoints, history, optimisation, sharding, vllm_policy
from repro.training import non_finite as divergence
from repro.training.resources import TrainingResources


def distill(
    config: DistillationConfig,
    *,
    student: Path | str,
    teacher: Path | str | None,
    items: list[Item],
    completions: Path | None,
    task_reward: TaskReward,
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    resources: TrainingResources = TrainingResources(),
) -> dict[str, Any]:
    """Train the student (all weights).

    Args:
        student: folder with model and tokenizer, or a hub id.
        teacher: the same; sft runs without one, then takes the traces as text.
        items: training prompts, of one task or several.
        completions: the teacher's rollouts (Parquet) for sft and gkd-fkl; those of other items are left out.
        task_reward: items and completion texts to rewards: the accuracy logged during gkd-rkl.
        out: gets model/ (float32, with tokenizer) and history.jsonl.
        work: checkpoints; a run that was stopped goes on from the newest complete one.
        resources: micro-batch, checkpoints, sharding and, for gkd-rkl by vLLM, the server.

    Returns:
        steps, prompts, traces (off-policy), parameters, and the mean of each figure over the last tenth of
        the steps.

    Raises:
        InputError: a missing teacher or rollout file, a pair without common vocabulary, or nothing to learn
        from.
    """
    vocabularies = _check(config, student, teacher, items, completions)
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(student)
    tokenizer.padding_side = "left"
    model = load_for_training(student)
    if vocabularies is not None:
        fit_vocabulary(model, vocabularies.compared)
    end_id = end_of_turn_id(tokenizer, model.generation_config.eos_token_id)
    saved_as = copy.deepcopy((model.config, model.generation_config))  # the trainer writes its own tokens into them
    cut = optimisation.cut_step(config.sequences_per_step, resources.micro_batch, optimisation.ranks())
    shared = optimisation.trainer_arguments(
        work=work,
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_fraction=config.warmup_fraction,
        seed=seed,
        cut=cut,
        parameters=model.num_parameters(),
        resources=resources,
    )
    draws = config.steps * config.sequences_per_step
    counts: dict[str, int] = {}
    if config.method == "gkd-rkl":
        rows: list[dict[str, Any]] = [
            {"prompt": [{"role": "user", "content": items[i].prompt}], "item": i}
            for i in optimisation.training_order(len(items), draws, seed)
        ]
        counts["prompts"] = len({row["item"] for row in rows})
    else:
        assert completions is not None  # _check
        shared_tokens = teacher is not None and is_same_tokenizer(load_tokenizer(teacher), tokenizer)
        reading = TraceReader(tokenizer, end_id, shared_tokens, config.traces, config.max_completion_tokens)
        drawn, there = select_traces(completions, items, draws, seed, reading)
        rows = [_off_policy_row(config, tokenizer, trace) for trace in drawn]
        counts["prompts"], counts["traces"] = len({trace.item for trace in drawn}), there

    run = checkpoints.run_identity(config.model_dump(mode="json"), seed, rows, resources.shard)
    if config.method == "sft" and cut[1] > 1:  # the other trainers sort what they hold of a step
        order = buckets.order_by_length([len(row["input_ids"]) for row in rows], config.sequences_per_step)
        rows = [rows[n] for n in order]
    common: dict[str, Any] = {
        "model": model,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(rows),
        "callbacks": [divergence.StopOnNonFinite(), checkpoints.MarkComplete(run)],
    }
    drawing: contextlib.AbstractContextManager[dict[str, Any]] = contextlib.nullcontext({})
    if config.method == "gkd-rkl":
        drawing = vllm_policy.engine_arguments(config, model, tokenizer, items, work, resources.server)
    with drawing as engine:
        if config.method == "sft":
            trainer = _sft_trainer(shared, common)
        else:
            scorer = functools.partial(_scorer, teacher, vocabularies, resources.shard)
            trainer = _divergence_trainer(config, engine, shared, common, scorer, items, task_reward)
        figures = {"sft": sft.FIGURES, "gkd-fkl": off_policy.FIGURES, "gkd-rkl": on_policy.FIGURES}[config.method]
        trainer.add_callback(history.ReportProgress(progress, figures, ("loss", "accuracy", "length")))
        trainer.remove_callback(PrinterCallback)
        set_seed(seed, device_specific=True)  # starting vLLM in the process seeds it with the rank alone
        resume = checkpoints.newest_complete(work, run)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    whole = sharding.unsharded_state(trainer.model)
    logged = history.history(trainer.state.log_history, figures)
    if trainer.accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        trained = trainer.accelerator.unwrap_model(trainer.model)
        trained.config, trained.generation_config = saved_as
        trained.save_pretrained(out / "model", state_dict=whole)
        load_tokenizer(student).save_pretrained(out / "model")
        history.write_history(out / "history.jsonl", logged)
    trainer.accelerator.wait_for_everyone()
    return {
        "steps": trainer.state.global_step,
        **counts,
        **(vocabularies.record() if vocabularies else {}),
        "parameters": model.num_parameters(),
        **history.final_figures(logged),
        **history.alarms(logged),
    }


def _check(
    config: DistillationConfig,
    student: Path | str,
    teacher: Path | str | None,
    items: list[Item],
    completions: Path | None,
) -> Vocabularies | None:
    """The vocabularies of the pair, where the method compares distributions."""
    if not items:
        raise InputError("no training items: give the task more rows, or another split.")
    if config.method != "gkd-rkl" and completions is None:
        raise InputError(f"method '{config.method}' learns from stored completions: make them with `repro sample`.")
    if config.method == "sft":
        return None
    if teacher is None:
        raise InputError(f"method '{config.method}' needs the teacher's distribution: give a teacher model.")
    return check_pair(teacher, student)


def _scorer(teacher: Path | str | None, vocabularies: Vocabularies | None, shard: bool) -> Any:
    """The teacher, over the ids that both models have; on the CPU where it is to be sharded, since no GPU need hold it."""
    assert teacher is not None  # _check
    assert vocabularies is not None
    return fit_vocabulary(load_model(teacher, place=not shard), vocabularies.compared)


def _sft_trainer(shared: dict[str, Any], common: dict[str, Any]) -> Any:
    arguments = sft.sft_config(shared)
    sharding.prepare_sharding(arguments, common["model"])
    return sft.SftTrainer(args=arguments, **common)


def _divergence_trainer(
    config: DistillationConfig,
    engine: dict[str, Any],
    shared: dict[str, Any],
    common: dict[str, Any],
    scorer: Callable[[], Any],
    items: list[Item],
    task_reward: TaskReward,
) -> Any:
    """GKD: KL(p_S||p_T) on the student's own completions, or KL(p_T||p_S) on the teacher's."""
    on_own = config.method == "gkd-rkl"
    arguments = on_policy.divergence_config(
        1.0 if on_own else 0.0, config.max_completion_tokens, config.reasoning, engine, shared
    )
    sharding.prepare_sharding(arguments, common["model"])
    common = common | {"args": arguments, "teacher_model": scorer()}
    if on_own:
        trainer: Any = on_policy.OnPolicyTrainer(items=items, task_reward=task_reward, **common)
    else:
        trainer = off_policy.OffPolicyTrainer(**common)
    trainer.teacher_model = sharding.shard_frozen(trainer.accelerator, trainer.teacher_model)
    return trainer


def _off_policy_row(config: DistillationConfig, tokenizer: Any, trace: Trace) -> dict[str, Any]:
    if config.method == "sft":
        return sft.sft_row(prompt_token_ids(tokenizer, trace.item.prompt, config.reasoning), trace.completion_ids)
    return {
        "prompt": [{"role": "user", "content": trace.item.prompt}],
        "completion_ids": trace.completion_ids,
    }
