"""Steps that calibration and distillation share: load, train with resume, save on the first rank, summarise."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from repro.models import output_layer
from repro.models.loading import load_for_training, load_tokenizer
from repro.progress import Progress
from repro.training import checkpoints, history, non_finite, sharding, sleeping_engine, tracking
from repro.training.tripwires import tripwires

StateDict = dict[str, torch.Tensor]


def load_model_and_tokenizer(model: Path | str) -> tuple[Any, Any]:
    """Load the model to train, in float32, and its tokenizer, with left padding.

    The embedding has no padding_idx: torch would drop the gradient of that row, and some models pad with their
    end-of-turn token. Padding itself is masked and has no gradient.
    """
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(model)
    tokenizer.padding_side = "left"
    trained = load_for_training(model)
    trained.get_input_embeddings().padding_idx = None
    return trained, tokenizer


def train(
    trainer: Any,
    *,
    run: dict[str, Any],
    seed: int,
    work: Path,
    progress: Progress,
    names: Mapping[str, str],
    note: Sequence[str],
    checkpoint_minutes: float = 0.0,
    event_files: Path | None = None,
) -> dict[str, Any]:
    """Train from the newest complete checkpoint of this run, or from the start; shut vLLM down at the end.

    Args:
        trainer: a TRL trainer.
        run: `checkpoints.run_identity`.
        work: folder for checkpoints.
        names: maps names in the trainer's log to names in history.jsonl.
        note: names in the history of the metrics that progress shows.
        checkpoint_minutes: minutes between checkpoints, in addition to those by steps in the trainer's arguments; 0 to
            disable.
        event_files: folder for TensorBoard's files, if the trainer reports to it.

    Returns:
        Entries of the summary about memory in use while vLLM sleeps.
    """
    trainer.add_callback(history.ReportProgress(progress, names, note))
    trainer.add_callback(non_finite.StopOnNonFinite())
    if checkpoint_minutes:
        trainer.add_callback(checkpoints.SaveByTime(60 * checkpoint_minutes))
    trainer.add_callback(checkpoints.MarkComplete(run))
    trainer.remove_callback(PrinterCallback)
    tracking.keep_event_files(trainer, event_files)
    set_seed(seed, device_specific=True)  # starting vLLM in this process reseeds it with only the rank
    resume = checkpoints.newest_complete(work, run)
    with output_layer.keep_logits(), sleeping_engine.watched_engine(trainer) as watch:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return watch.figures()


def save(
    trainer: Any, out: Path, names: Mapping[str, str], save_model: Callable[[Any, StateDict | None], None]
) -> list[dict[str, Any]]:
    """Write the model and history.jsonl on the first rank; return the history's rows. Every rank must call it.

    Args:
        out: created if missing.
        names: maps names in the trainer's log to names in history.jsonl.
        save_model: takes the trained model and its gathered weights (None if the model is not sharded).
    """
    state = sharding.unsharded_state(trainer.model)
    rows = history.history(trainer.state.log_history, names)
    if trainer.accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        save_model(trainer.accelerator.unwrap_model(trainer.model), state)
        history.write_history(out / "history.jsonl", rows)
    trainer.accelerator.wait_for_everyone()
    return rows


def summarise(
    steps: int,
    rows: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Any],
    *,
    cap: int,
    warnings: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return steps, counts, the mean of each metric over the last tenth of the steps, warnings, and any alarm.

    Args:
        cap: most tokens of a completion, for the tripwires.
        warnings: further warnings, by subject.
    """
    tripped = {**tripwires(rows, cap), **(warnings or {})}
    figures = {**history.final_figures(rows), **history.alarms(rows)}
    return {"steps": steps, **counts, **figures, **({"warnings": tripped} if tripped else {})}
