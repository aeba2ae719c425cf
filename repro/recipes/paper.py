"""The paper's scale: its models and tasks. Values that it does not give come from `assumed`."""

from repro.calibration.config import CalibrationConfig
from repro.diagnosis.config import DiagnosisConfig
from repro.distillation.config import DistillationConfig, Method
from repro.evaluation.config import PrefixConfig
from repro.generation.config import SamplingConfig
from repro.recipes.assumed import assumed
from repro.recipes.settings import Family, Settings

SEVEN_TASKS = ("bigmath-4", "bigmath-5", "csqa", "mmlu-pro", "supergpqa", "dolly", "vicuna")
FAMILIES = {
    "gemma3": Family(
        teacher="google/gemma-3-12b-it",
        student="google/gemma-3-4b-it",
        target="google/gemma-3-1b-it",
        larger_teachers=("google/gemma-3-27b-it",),
        other_target="Qwen/Qwen3-0.6B",
    ),
    "qwen3": Family(
        teacher="Qwen/Qwen3-8B",
        student="Qwen/Qwen3-1.7B",
        target="Qwen/Qwen3-0.6B",
        larger_teachers=("Qwen/Qwen3-14B", "Qwen/Qwen3-32B"),
        other_target="google/gemma-3-1b-it",
    ),
}

FURTHER_FAMILIES = {
    "deepseek-r1": Family(
        teacher="deepseek-ai/DeepSeek-R1-0528-Qwen3-8B",
        student="Qwen/Qwen3-4B",
        target=assumed("deepseek-r1 target"),
    ),
    "llama3": Family(
        teacher="meta-llama/Llama-3.1-8B-Instruct",
        student="meta-llama/Llama-3.2-3B-Instruct",
        target=assumed("llama3 target"),
    ),
}
"""Appendix F (Tables 6 and 7): run if requested (--family), not by default.

DeepSeek-R1-0528-Qwen3-8B has another chat template than its student, whose prompts it reads in GKD: its calibration is under
its own unless `calibration_template` is "student", and the summaries of its students say so.
"""


def distillation(method: Method) -> DistillationConfig:
    """Return the settings of one baseline."""
    return DistillationConfig(
        method=method,
        steps=assumed("distillation.steps"),
        sequences_per_step=assumed("distillation.sequences_per_step"),
        learning_rate=assumed("distillation.learning_rate"),
        warmup_fraction=assumed("distillation.warmup_fraction"),
        max_completion_tokens=assumed("calibration.max_completion_tokens"),
        traces="full",
        engine="vllm",
        rollouts_per_prompt=assumed("distillation.rollouts_per_prompt") if method == "gkd-rkl" else 1,
    )


def settings() -> Settings:
    """Return Table 2 as printed: two families, seven tasks, 16 samples at temperature 1 (PAPER)."""
    sampling = SamplingConfig(
        completions_per_prompt=16,
        temperature=1.0,
        max_completion_tokens=assumed("calibration.max_completion_tokens"),
        engine="vllm",
        batch_sequences=4096,
    )
    return Settings(
        families=FAMILIES | FURTHER_FAMILIES,
        tasks=SEVEN_TASKS,
        source_tasks=("bigmath-4", "bigmath-5"),
        train_items=assumed("train_items"),
        test_items=assumed("test_items"),
        eta_distillable=assumed("eta_distillable"),
        eta_undistillable=assumed("eta_undistillable"),
        etas=assumed("etas"),
        reward_model=assumed("reward_model"),
        reward_while_distilling=False,
        calibration=CalibrationConfig(
            eta=0.0,
            steps=assumed("calibration.steps"),
            prompts_per_step=assumed("calibration.prompts_per_step"),
            group_size=assumed("calibration.group_size"),
            learning_rate=assumed("calibration.learning_rate"),
            lora_rank=assumed("calibration.lora_rank"),
            lora_alpha=assumed("calibration.lora_alpha"),
            kl_beta=assumed("calibration.kl_beta"),
            max_completion_tokens=assumed("calibration.max_completion_tokens"),
            loss_type=assumed("calibration.loss_type"),
            advantages="group",
            length_normalised=False,
            engine="vllm",
            style_text=assumed("calibration.style_text"),
        ),
        sft=distillation("sft"),
        gkd_fkl=distillation("gkd-fkl"),
        gkd_rkl=distillation("gkd-rkl"),
        teacher_sampling=sampling,
        evaluation=sampling,
        diagnosis=DiagnosisConfig(
            ks=assumed("diagnosis.ks"),
            tail_k=assumed("diagnosis.tail_k"),
            contribution_blocks=40,
            fork_quantile=assumed("diagnosis.fork_quantile"),
            gradient_prompts=8,
            gradient_tokens=32,
            resamples=1000,
        ),
        prefixes=PrefixConfig(
            fractions=assumed("prefixes.fractions"),
            min_tokens=assumed("prefixes.min_tokens"),
            per_prompt=assumed("prefixes.per_prompt"),
            continuations=assumed("prefixes.continuations"),
        ),
        judge=None,
        controls=True,
    )
