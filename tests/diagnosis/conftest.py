"""Random completions, and synthetic measurements whose statistics are known."""

import numpy as np
import pytest

from repro.diagnosis.columns import select_columns
from repro.generation.rollouts import Rollout
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_tokenizer


@pytest.fixture(scope="session")
def rollouts(student):
    """Three prompts, four completions each, of 1 to 7 random tokens; a single completion is empty."""
    tokenizer = load_tokenizer(student)
    rng = np.random.default_rng(0)
    completions = []
    for a in range(3):
        prompt = f"{a} + {a} = ?"
        for sample in range(4):
            length = 0 if (a, sample) == (1, 2) else int(rng.integers(1, 8))
            ids = rng.integers(3, 12, length).tolist()  # few ids, so that they repeat
            completions.append(
                Rollout(
                    item_id=f"sum/{a}",
                    task="file-numeric",
                    prompt=prompt,
                    sample=sample,
                    prompt_ids=prompt_token_ids(tokenizer, prompt),
                    token_ids=ids,
                    log_probs=[-1.0] * length,
                    text=tokenizer.decode(ids) + (rf" \boxed{{{2 * a}}}" if sample % 2 else ""),
                    stop="length",
                )
            )
    return completions


@pytest.fixture
def make_columns():
    """Columns of 30 prompts with 6 rollouts each, correlated inside prompts; some losses tied."""

    def make(policy, seed=0, prompts=30, size=6):
        rng = np.random.default_rng(seed)
        rows = []
        for prompt in range(prompts):
            level = rng.normal(0, 1)
            for sample in range(size):
                tokens = int(rng.integers(1, 9))
                gap = float(np.round(level + rng.normal(1, 1), 1))
                rows.append(
                    {
                        "policy": policy,
                        "task": "toy-bm4",
                        "item_id": f"p{prompt}",
                        "sample": sample,
                        "tokens": tokens,
                        "correct": (is_correct := bool(rng.random() < 0.6)),
                        "answered": is_correct or (prompt + sample) % 3 > 0,
                        "sampled_log_prob": -3.0,
                        "student_log_prob": -3.0 + (gap if policy == "student" else -gap),
                        "teacher_log_prob": -3.0,
                        "rkl": tokens * abs(gap) / 4,
                        "fkl": tokens * 0.3,
                        "entropy_student": tokens * 0.5,
                        "entropy_teacher": tokens * 0.2,
                        "partial_rkl": [tokens * 0.1, tokens * abs(gap) / 4],
                        "fork_tokens": tokens // 3,
                        "fork_rkl": tokens * abs(gap) / 9,
                    }
                )
        return select_columns(rows, policy, "toy-bm4")

    return make
