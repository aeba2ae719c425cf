"""Prefixes of a misled student's completions, in two populations (section 6.5, Figure 4).

re-check: the paper's. The student stated the correct answer, then an unnecessary re-check flipped it to a wrong one;
the prefix ends before the phrase that begins the re-check.
share: ours. Any wrong completion, cut at a share of its length: can a model recover from an arbitrary beginning?
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from repro.evaluation.config import PrefixConfig
from repro.evaluation.failure_modes import find_recheck_after_answer
from repro.evaluation.graded import Graded, PromptKey, by_prompt
from repro.tasks import registry
from repro.tasks.extraction import BOX_OPENING
from repro.tasks.grading import grade
from repro.tasks.task import Item, Kind
from repro.tasks.thoughts import visible_text

Cut = Literal["share", "re-check"]
Decode = Callable[[Sequence[int]], str]
"""Decodes token ids to text in the same way as the completions' texts were made."""


@dataclass(frozen=True)
class Prefix:
    """The beginning of a wrong completion of the student.

    Attributes:
        source: index of the student's sample that it was cut from.
        fraction: its length as a share of the completion without its end token, as configured (share) or as measured
            (re-check); 0 for the empty prefix.
    """

    item: Item
    source: int
    cut: Cut
    fraction: float
    token_ids: tuple[int, ...]


def cut_prefixes(
    config: PrefixConfig, lost: Sequence[PromptKey], after: Iterable[Graded], items: Sequence[Item], decode: Decode
) -> list[Prefix]:
    """Cut the prefixes of both populations from the first wrong completions of every lost prompt.

    A prefix has at least `min_tokens` tokens and never the end token. Every completion that is cut at shares also
    yields the empty prefix.

    Args:
        after: the student's completions of the lost prompts.
    """
    items_by_key = {(item.task, item.id): item for item in items}
    groups = by_prompt(after)
    prefixes: list[Prefix] = []
    for prompt in lost:
        wrong = [graded for graded in groups[prompt] if graded.score == 0 and has_tokens(graded)]
        for graded in wrong[: config.per_prompt]:
            prefixes += _cut_at_shares(config, items_by_key[prompt], graded)
        cuts = (_cut_before_recheck(config, items_by_key[prompt], graded, decode) for graded in wrong)
        prefixes += [prefix for prefix in cuts if prefix is not None][: config.per_prompt]
    return prefixes


def _cut_at_shares(config: PrefixConfig, item: Item, graded: Graded) -> Iterator[Prefix]:
    ids = _without_end(graded)
    yield Prefix(item, graded.rollout.sample, "share", 0.0, ())
    for fraction in config.fractions:
        length = int(fraction * len(ids))
        if length >= config.min_tokens:
            yield Prefix(item, graded.rollout.sample, "share", fraction, ids[:length])


def _cut_before_recheck(config: PrefixConfig, item: Item, graded: Graded, decode: Decode) -> Prefix | None:
    """Return the prefix before the re-check that flipped the correct answer; None if there is none or it is short."""
    text, kind = graded.rollout.text, registry.kind_of(item.task)
    if graded.answer is None or item.key is None:
        return None
    position = find_recheck_after_answer(text, kind=kind, key=item.key)
    if position is None:
        return None
    ids = _without_end(graded)
    length = _tokens_before(ids, text[:position], decode)
    if length < config.min_tokens or not length:
        return None
    return Prefix(item, graded.rollout.sample, "re-check", length / len(ids), ids[:length])


def _tokens_before(ids: Sequence[int], text: str, decode: Decode) -> int:
    """Return the largest number of leading tokens that decode to a prefix of the text."""
    low, high = 0, len(ids)
    while low < high:  # the length of the decoded text grows with the tokens
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(decode(ids[:middle])) <= len(text) else (low, middle - 1)
    while low and not text.startswith(decode(ids[:low])):  # ends in the middle of a character
        low -= 1
    return low


def _without_end(graded: Graded) -> tuple[int, ...]:
    ids = graded.rollout.token_ids
    return tuple(ids[:-1] if graded.rollout.stop == "eos" else ids)


def has_tokens(graded: Graded) -> bool:
    """Return True if the completion has any token besides its end token."""
    return len(graded.rollout.token_ids) > (graded.rollout.stop == "eos")


def is_committed(prefix: str, kind: Kind, *, opens_in_thought: bool = False) -> bool:
    """Return True if a prefix states an answer, or begins to (`\\boxed{5`).

    A teacher that continues it cannot take the answer back, so the teacher's own answer stays unknown.
    """
    visible = visible_text(prefix, opens_in_thought=opens_in_thought)
    boxes = BOX_OPENING.split(visible)[1:]
    return bool(boxes and boxes[-1].strip()) or grade(kind, visible, None).answer is not None
