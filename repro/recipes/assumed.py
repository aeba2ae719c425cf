"""The only home of ASSUMED values: what the paper must have used but does not (or no longer) state.

Each has its reason. `--set` overrides any of them, and every report lists those that a run used.
"""

from dataclasses import dataclass
from typing import Any

from repro.models.template_date import DATE


@dataclass(frozen=True)
class Assumed:
    """A value of ours, with the reason for it."""

    value: Any
    reason: str


ASSUMED: dict[str, Assumed] = {
    "eta_distillable": Assumed(1.0, "both rewards have unit variance; the authors' earlier draft uses +1 and -1"),
    "eta_undistillable": Assumed(-1.0, "as eta_distillable, with the other sign"),
    "calibration.group_size": Assumed(8, "TRL's default number of generations"),
    "calibration.prompts_per_step": Assumed(64, "512 completions a step: common in GRPO recipes at this size"),
    "calibration.steps": Assumed(200, "one epoch of Table 2's 12,800 training prompts (see train_items)"),
    "calibration.learning_rate": Assumed(1e-5, "common for GRPO with LoRA; full fine-tuning uses about 1e-6"),
    "calibration.lora_rank": Assumed(32, "the rank is lost; 16 to 64 are common for GRPO"),
    "calibration.lora_alpha": Assumed(64, "twice the rank, peft's usual scaling"),
    "calibration.kl_beta": Assumed(
        0.04, "GRPO's published anchor; TRL's own default of 0 would drop Eq 6's second term"
    ),
    "calibration.loss_type": Assumed("dapo", "TRL's default when the paper was written"),
    "calibration.style_text": Assumed(
        "Wait", "of the style reward, a control: the word with which reasoning models open a re-check"
    ),
    "calibration.max_completion_tokens": Assumed(8192, "Qwen's implied mean lengths reach 4,630 tokens (DERIVED)"),
    "distillation.learning_rate": Assumed(1e-5, "full fine-tuning of a 1.7B to 4B student"),
    "distillation.sequences_per_step": Assumed(128, "common for distillation at this size"),
    "distillation.steps": Assumed(
        100, "one epoch of Table 2's 12,800 training prompts, as Table 5's hours are of one epoch"
    ),
    "distillation.rollouts_per_prompt": Assumed(
        1,
        "appendix D gives teacher and students one number of rollouts per prompt, which is lost; GKD as published draws one"
        " completion at each visit of a prompt. The teacher's number: --set gkd_rkl.rollouts_per_prompt=8",
    ),
    "distillation.warmup_fraction": Assumed(0.03, "a common short warm-up"),
    "diagnosis.ks": Assumed((1, 10, 100, 1000, 10_000), "powers of ten up to |V|; the values of Figure 2 are lost"),
    "diagnosis.tail_k": Assumed(
        10,
        "what follows the ten likeliest ids of a step is its tail: the paper speaks of likely candidates without a number",
    ),
    "diagnosis.fork_quantile": Assumed(0.8, "the upper fifth, as the paper's source for forking tokens takes it"),
    "prefixes.fractions": Assumed((0.25, 0.5, 0.75), "the paper does not say how much of a completion is a prefix"),
    "prefixes.min_tokens": Assumed(
        8, "a short clause: a prefix that holds an intermediate answer has at least that; the paper states no length"
    ),
    "prefixes.per_prompt": Assumed(4, "the paper does not say how many prefixes a prompt gives"),
    "prefixes.continuations": Assumed(4, "with four prefixes 16 a prompt, as everywhere else"),
    "train_items": Assumed(
        2_133, "per task: 12,800 in all over the six tasks that have training rows; dataset sizes are lost"
    ),
    "test_items": Assumed(500, "per task; item counts are lost"),
    "reward_model": Assumed(
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B", "the paper names Skywork-Reward-V2 without size or revision"
    ),
    "deepseek-r1 target": Assumed(
        "Qwen/Qwen3-0.6B", "appendix F names no calibration target; the main experiment's for Qwen3 students"
    ),
    "llama3 target": Assumed(
        "meta-llama/Llama-3.2-1B-Instruct", "appendix F names no calibration target; the smallest of the family"
    ),
    "etas": Assumed(
        (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0),
        "the paper gives two points of the curve; even steps of a half, the two points of Table 2 and 0 among them",
    ),
    "bigmath split": Assumed("level_4, level_5", "configs of open-r1/Big-Math-RL-Verified-Processed; no test split"),
    "calibration data": Assumed(
        "all tasks of the study together", "the paper does not say whether per task or jointly"
    ),
    "calibration_template": Assumed(
        "teacher",
        "the paper does not say; in GKD the teacher reads the student's prompts, which differ for DeepSeek-R1 alone"
        " (--set calibration_template=student)",
    ),
    "dollars per GPU-hour": Assumed(
        2.5, "on-demand prices of one H100 in 2025 and 2026 lie between about 2 and 4 dollars"
    ),
    "parallel efficiency": Assumed(0.95, "kept at each doubling of a stage's GPUs inside a node; not measured here"),
    "prompt tokens": Assumed(
        256,
        "longest prompt that memory is planned for; with Qwen3's tokenizer gsm8k's have at most 212 tokens and"
        " CommonsenseQA's 94 (measured), and the chat template adds about 20; a few of Big-Math and MMLU-Pro are longer",
    ),
    "host GiB of a process": Assumed(
        4.0,
        "Python and libraries take 0.5 on the CPU (measured); CUDA, NCCL and vLLM's buffers come on top, not measured",
    ),
    "template date": Assumed(
        DATE, "Llama-3.2's template prints the day of the run; Llama-3.1's prints this date on every day"
    ),
    "score transform": Assumed("logistic", "the paper's reward scores lie in 0..1"),
}


def assumed(key: str) -> Any:
    """Return the value without its reason."""
    return ASSUMED[key].value
