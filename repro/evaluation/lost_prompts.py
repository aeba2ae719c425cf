"""Prompts that a student solved by majority before its distillation and fails after it (section 6.5)."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.evaluation.graded import Outcome, PromptKey, by_prompt
from repro.evaluation.metrics import maj_at_k
from repro.tasks import registry


@dataclass(frozen=True)
class LostPrompts:
    """Prompts of verifiable tasks, in the order of the evaluation. lost is a part of solved."""

    solved: tuple[PromptKey, ...]
    lost: tuple[PromptKey, ...]

    def of(self, task: str) -> tuple[int, int]:
        """How many prompts of a task were solved, and how many of these are lost."""
        return sum(t == task for t, _ in self.solved), sum(t == task for t, _ in self.lost)


def lost_prompts(before: Sequence[Outcome], after: Sequence[Outcome]) -> LostPrompts:
    """Solved: the majority answer before is right with probability above a half (ties are drawn); lost: below a half after."""
    first, then = majority_correctness(before), majority_correctness(after)
    solved = tuple(prompt for prompt, right in first.items() if right > 0.5)
    return LostPrompts(solved, tuple(prompt for prompt in solved if then[prompt] < 0.5))


def majority_correctness(outcomes: Sequence[Outcome]) -> dict[PromptKey, float]:
    """Expected correctness of each prompt's majority answer; open-ended tasks have none."""
    groups = by_prompt(outcomes)
    return {
        prompt: maj_at_k([g.answer for g in group], group[0].key or "")
        for prompt, group in groups.items()
        if registry.kind_of(prompt[0]) != "open"
    }
