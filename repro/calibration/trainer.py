"""Calibrate a teacher: Algorithm 1 from folders to a folder, with LoRA and resume."""

import json
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from repro.calibration.config import CalibrationConfig
from repro.calibration.grpo import FIGURES, CalibrationTrainer, TaskReward, grpo_config
from repro.calibration.reward import TargetScorer
from repro.errors import InputError
from repro.models.chat_tokens import end_of_turn_id
from repro.models.loading import load_for_training, load_tokenizer
from repro.progress import Progress
from repro.tasks import Item
from repro.training import checkpoints, history, optimisation, sharding, vllm_policy
from repro.training import non_finite as divergence
from repro.training.resources import TrainingResources

__all__ = ["CalibrationTrainer", "TaskReward", "calibrate", "save_merged"]


def calibrate(
    config: CalibrationConfig,
    *,
    teacher: Path | str,
    target: Path | str,
    items: list[Item],
    task_reward: TaskReward,
    seed: int,
    out: Path,
    work: Path,
    progress: Progress,
    resources: TrainingResources = TrainingResources(),
) -> dict[str, Any]:
    """Calibrate a teacher (Algorithm 1).

    Args:
        teacher, target: folders with model and tokenizer, or hub ids; the two tokenizers may differ (Eq 11).
        items: training prompts, of one task or several.
        task_reward: items and completion texts to r_task, one for each.
        out: gets model/ (merged weights, float32, with tokenizer), adapter/ and history.jsonl.
        work: checkpoints; a run that was stopped goes on from the newest complete one.
        resources: micro-batch, checkpoints, sharding and vLLM server.

    Returns:
        steps, prompts, parameters, and the mean of each figure over the last tenth of the steps.

    Raises:
        InputError: no items, a model without chat template or end token, or a step that the processes cannot
        share.
    """
    if not items:
        raise InputError("no training items: give the task more rows, or another split.")
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(teacher)
    tokenizer.padding_side = "left"
    policy = load_for_training(teacher)
    end_of_turn_id(tokenizer, policy.generation_config.eos_token_id)  # refuses what cannot be posed or ended
    parameters = policy.num_parameters()
    shared = _shared(config, parameters, seed, work, resources)
    rows = [
        {"prompt": [{"role": "user", "content": items[i].prompt}], "item": i}
        for i in optimisation.training_order(len(items), config.steps * config.prompts_per_step, seed)
    ]
    run = checkpoints.run_identity(config.model_dump(mode="json"), seed, rows, resources.shard)
    with vllm_policy.engine_arguments(config, policy, tokenizer, items, work, resources.server) as engine:
        arguments = grpo_config(config, engine | (vllm_policy.importance_arguments() if engine else {}), shared)
        sharding.prepare_sharding(arguments, policy)
        trainer = CalibrationTrainer(
            items=items,
            task_reward=task_reward,
            target=TargetScorer(
                target, tokenizer, batch_size=arguments.per_device_train_batch_size, reasoning=config.reasoning
            ),
            config=config,
            model=policy,
            args=arguments,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                lora_dropout=0.0,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
            train_dataset=Dataset.from_list(rows),
            callbacks=[
                history.ReportProgress(progress, FIGURES, ("task_reward", "r_cal", "kl", "length")),
                divergence.StopOnNonFinite(),
                checkpoints.MarkComplete(run),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        set_seed(seed, device_specific=True)  # starting vLLM in the process seeds it with the rank alone
        resume = checkpoints.newest_complete(work, run)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    whole = sharding.unsharded_state(trainer.model)
    rows_logged = history.history(trainer.state.log_history, FIGURES)
    if trainer.accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(out / "adapter", state_dict=whole)
        (out / "adapter" / "README.md").unlink(missing_ok=True)  # a model card that says nothing
        _settle(out / "adapter" / "adapter_config.json")
        save_merged(teacher, out / "adapter", out / "model")
        history.write_history(out / "history.jsonl", rows_logged)
    trainer.accelerator.wait_for_everyone()
    return {
        "steps": trainer.state.global_step,
        "prompts": len({row["item"] for row in rows}),
        "parameters": parameters,
        **history.final_figures(rows_logged),
        **history.alarms(rows_logged),
    }


def _shared(
    config: CalibrationConfig,
    parameters: int,
    seed: int,
    work: Path,
    resources: TrainingResources,
) -> dict[str, Any]:
    sequences = config.prompts_per_step * config.group_size
    cut = optimisation.cut_step(sequences, resources.micro_batch, optimisation.ranks())
    if config.loss_type == "bnpo" and cut[0] != sequences:
        raise InputError(
            f"loss_type 'bnpo' averages over the tokens of each micro-batch, so {cut[0]} of {sequences}"
            " completions at once would be another algorithm: use 'dapo', or one device and no micro-batch."
        )
    return optimisation.trainer_arguments(
        work=work,
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_fraction=0.0,
        seed=seed,
        cut=cut,
        parameters=parameters,
        resources=resources,
    )


def _settle(config: Path) -> None:
    """The same bytes on every machine: no path of this one (the stage's record says what the base is), no order of a set."""
    content = json.loads(config.read_text())
    content["base_model_name_or_path"] = None
    content["target_modules"] = sorted(content["target_modules"])
    config.write_text(json.dumps(content, indent=2, sort_keys=True))


def save_merged(base: Path | str, adapter: Path, folder: Path) -> None:
    """Write base + adapter as one ordinary model folder, in float32, with the base's tokenizer and generation
    config.

    The base is read afresh: the trained object carries the trainer's patches.
    """
    model = load_for_training(base)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.generation_config = model.generation_config
    merged.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
