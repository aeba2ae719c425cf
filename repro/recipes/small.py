"""The small scale: one GPU, one night. The smallest Qwen3 pair on two tasks; everything else as at paper scale.

Why this pair: float32 training takes 16 bytes a parameter (weight, gradient, AdamW), so 24 GB fit a 0.6B student next
to its teacher and vLLM (20.9 GiB by `repro.planner.gpu_memory`; docs/gpu.md), but not a 1.7B one (27 GB by itself).
Why a night: 9.7 h on an RTX 3090 and 4.0 h on an H100 by `repro.planner.roofline`, every completion at its length cap;
a test checks that it stays below ten.
Why no reasoning: a reasoning completion takes thousands of tokens (the paper's Qwen lengths, DERIVED); cut at 512,
hardly any would reach its answer.

80 GB hold the paper's own pair, Qwen3-8B to Qwen3-1.7B, with these budgets:
`--set families.qwen3.teacher=Qwen/Qwen3-8B --set families.qwen3.student=Qwen/Qwen3-1.7B`.
"""

from repro.recipes import paper
from repro.recipes.settings import Family, Settings, override


def settings() -> Settings:
    """Return the settings: Qwen3-1.7B teaches Qwen3-0.6B on gsm8k and CommonsenseQA, with short completions."""
    scaled = override(
        paper.settings(),
        [
            "tasks=gsm8k,csqa",
            "source_tasks=gsm8k",
            "train_items=2000",
            "test_items=250",
            "reward_model=none",
            "reasoning=false",
            "calibration.steps=50",
            "calibration.prompts_per_step=16",
            "calibration.max_completion_tokens=512",
            "teacher_sampling.completions_per_prompt=4",
            "teacher_sampling.max_completion_tokens=512",
            "evaluation.max_completion_tokens=512",
            *(
                f"{method}.{setting}"
                for method in ("sft", "gkd_fkl", "gkd_rkl")
                for setting in ("steps=120", "sequences_per_step=32", "max_completion_tokens=512")
            ),
        ],
    )
    pair = Family(
        teacher="Qwen/Qwen3-1.7B",
        student="Qwen/Qwen3-0.6B",
        target="Qwen/Qwen3-0.6B",
        other_target="google/gemma-3-1b-it",
    )
    return scaled.model_copy(update={"families": {"qwen3": pair}})
