"""The small scale: one GPU, one night. The smallest Qwen3 pair on two tasks; everything else as at paper scale."""

from repro.recipes import paper
from repro.recipes.settings import Family, Settings, override


def settings() -> Settings:
    """Qwen3-1.7B teaches Qwen3-0.6B on gsm8k and CommonsenseQA, with short completions."""
    scaled = override(
        paper.settings(),
        [
            "tasks=gsm8k,csqa",
            "train_items=2000",
            "test_items=250",
            "reward_model=none",
            "calibration.steps=60",
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
    pair = Family(teacher="Qwen/Qwen3-1.7B", student="Qwen/Qwen3-0.6B", target="Qwen/Qwen3-0.6B")
    return scaled.model_copy(update={"families": {"qwen3": pair}})
