"""Prompts that a student solves by majority before distillation and fails after it (section 6.5)."""

from collections.abc import Sequence
from dataclasses import dataclass

from repro.evaluation.graded import Outcome, PromptKey, by_prompt
from repro.evaluation.metrics import maj_at_k
from repro.tasks import registry


@dataclass(frozen=True)
class LostPrompts:
    """Prompts of verifiable tasks, in the order of the evaluation. lost is a subset of solved."""

    solved: tuple[PromptKey, ...]
    lost: tuple[PromptKey, ...]

    def count(self, task: str) -> tuple[int, int]:
        """Return the number of a task's solved prompts, and of the lost ones among them."""
        return sum(t == task for t, _ in self.solved), sum(t == task for t, _ in self.lost)


def lost_prompts(before: Sequence[Outcome], after: Sequence[Outcome]) -> LostPrompts:
    """Find the prompts whose majority answer is right with probability above 1/2 before, and below 1/2 after.

    In a tie of k answers, each has probability 1/k.
    """
    correct_before, correct_after = majority_correctness(before), majority_correctness(after)
    solved = tuple(prompt for prompt, right in correct_before.items() if right > 0.5)
    return LostPrompts(solved, tuple(prompt for prompt in solved if correct_after[prompt] < 0.5))


def majority_correctness(outcomes: Sequence[Outcome]) -> dict[PromptKey, float]:
    """Return the expected correctness of each prompt's majority answer; open-ended tasks are left out."""
    groups = by_prompt(outcomes)
    return {
        prompt: maj_at_k([g.answer for g in group], group[0].key or "")
        for prompt, group in groups.items()
        if registry.kind_of(prompt[0]) != "open"
    }
