"""The toy scale: the embedded world, minutes on two CPU cores. The same stages, trainers and report as `paper`.

These settings are ours, chosen on the embedded worlds 0 to 2 (docs/toy_world.md); they say nothing about the paper's.
"""

from repro.calibration.config import CalibrationConfig
from repro.diagnosis.config import DiagnosisConfig
from repro.distillation.config import DistillationConfig, Method
from repro.evaluation.config import PrefixConfig
from repro.generation.config import SamplingConfig
from repro.recipes.assumed import assumed
from repro.recipes.settings import Family, Settings
from repro.toy.world import DEFAULT_WORLD

MAX_COMPLETION_TOKENS = 32
SEVEN_TASKS = (
    "toy-bm4",
    "toy-bm5",
    "toy-csqa",
    "toy-mmlu-pro",
    "toy-supergpqa",
    "toy-dolly",
    "toy-vicuna",
)


def family(name: str, target_family: str | None = None) -> Family:
    """Return the models of an embedded family; the calibration target may come from the other."""
    other_family = {"qwen3": "gemma3", "gemma3": "qwen3"}[name]
    return Family(
        teacher=f"toy:{name}-teacher",
        student=f"toy:{name}-student",
        target=f"toy:{target_family or name}-target",
        other_target=f"toy:{other_family}-target",
    )


def distillation(method: Method, steps: int, learning_rate: float) -> DistillationConfig:
    """Return the settings of one baseline."""
    return DistillationConfig(
        method=method,
        steps=steps,
        sequences_per_step=128,
        learning_rate=learning_rate,
        warmup_fraction=0.05,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
        traces="full",
        engine="transformers",
    )


def settings() -> Settings:
    """Return the settings: three tasks; all seven with `--set tasks=...` (see `SEVEN_TASKS`)."""
    sampling = SamplingConfig(
        completions_per_prompt=16,
        temperature=1.0,
        max_completion_tokens=MAX_COMPLETION_TOKENS,
        engine="transformers",
        batch_sequences=1024,
    )
    return Settings(
        families={name: family(name) for name in ("qwen3", "gemma3")},
        tasks=("toy-bm4", "toy-bm5", "toy-csqa"),
        source_tasks=("toy-bm4", "toy-bm5"),
        train_items=750,
        test_items=150,
        eta_distillable=1.0,
        eta_undistillable=-1.0,
        etas=assumed("etas"),
        reward_model="toy:reward-model",
        reward_while_distilling=False,
        calibration=CalibrationConfig(
            eta=0.0,
            steps=20,
            prompts_per_step=16,
            group_size=16,
            learning_rate=2e-3,
            lora_rank=16,
            lora_alpha=32,
            kl_beta=0.2,
            max_completion_tokens=MAX_COMPLETION_TOKENS,
            loss_type="dapo",
            advantages="group",
            length_normalised=False,
            engine="transformers",
            style_text="hm",
        ),
        sft=distillation("sft", 200, 3e-3),
        gkd_fkl=distillation("gkd-fkl", 200, 3e-3),
        gkd_rkl=distillation("gkd-rkl", 150, 3e-3),
        teacher_sampling=sampling.model_copy(update={"completions_per_prompt": 4}),
        evaluation=sampling,
        diagnosis=DiagnosisConfig(
            ks=(1, 2, 4, 10, 64),
            tail_k=10,
            contribution_blocks=50,
            fork_quantile=0.8,
            gradient_prompts=20,
            gradient_tokens=MAX_COMPLETION_TOKENS,
            resamples=1000,
        ),
        prefixes=PrefixConfig(fractions=(0.25, 0.5, 0.75), min_tokens=3, per_prompt=4, continuations=4),
        judge=None,
        world=DEFAULT_WORLD.name,
        controls=True,
    )
