import random
from pathlib import Path
from typing import Any

import pytest
from tiny_models import gemma_tokenizer, qwen_tokenizer

from repro.distillation.traces import TraceReader, assign_traces, final_answer, select_traces
from repro.errors import InputError
from repro.generation.rollouts import Rollout, write_rollouts
from repro.tasks import Item
from repro.training.optimisation import cut_step, training_order


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"2 + 2 = \boxed{5}, no: \boxed{4}.", r"\boxed{4}"),
        (r"nested \boxed{\frac{1}{2}} and then", r"\boxed{\frac{1}{2}}"),
        (r"cut off: \boxed{12", None),
        ("I think so. Answer: B", "Answer: B"),
        (r"\boxed{3} options are left. Answer: C", "Answer: C"),
        ("no answer here", None),
        ("", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def rollout(text: str, ids: list[int], stop: str = "eos", item: str = "a") -> Rollout:
    return Rollout(item, "t", "p", 0, [], ids, [0.0] * len(ids), text, stop)  # type: ignore[arg-type]


def read(stored: Rollout, tokenizer: Any, end: int, shared: bool, kind: Any, cap: int) -> list[int]:
    reader = TraceReader(tokenizer=tokenizer, end_id=end, has_shared_tokens=shared, kind=kind, cap=cap)
    ids = reader.student_ids(stored.text, stored.token_ids, stored.stop)
    assert reader.has_tokens(stored.text, len(stored.token_ids), stored.stop) == bool(ids)
    return ids


def test_shared_tokens_are_used_as_they_were_sampled() -> None:
    stored = rollout("whatever", [7, 8, 9, 2])
    assert read(stored, None, 2, True, "full", 10) == [7, 8, 9, 2]
    assert read(stored, None, 2, True, "full", 3) == [7, 8, 9]


def test_text_is_encoded_for_another_tokenizer() -> None:
    gemma = gemma_tokenizer()
    end = gemma.convert_tokens_to_ids("<end_of_turn>")
    plain = gemma("a 1", add_special_tokens=False)["input_ids"]
    ended, cut = (rollout("a 1", [7, 8], stop) for stop in ("eos", "length"))
    assert read(ended, gemma, end, False, "full", 99) == [*plain, end]
    assert read(cut, gemma, end, False, "full", 99) == plain
    assert read(rollout("", [7], "length"), gemma, end, False, "full", 99) == []
    assert read(rollout("", [7], "eos"), gemma, end, False, "full", 99) == [end]


def test_answer_only_drops_completions_without_an_answer() -> None:
    qwen = qwen_tokenizer()
    stored = rollout(r"because \boxed{4}, yes", [1, 2, 3])
    ids = read(stored, qwen, 2, True, "answer-only", 99)
    assert qwen.decode(ids) == r"\boxed{4}<|im_end|>"
    assert read(rollout("hm", [1]), qwen, 2, True, "answer-only", 99) == []


def test_each_visit_of_a_prompt_takes_its_next_completion() -> None:
    items = [Item(str(n), "t", "", None) for n in range(3)]
    traces = {item: range(2) for item in items}
    rows = assign_traces(traces, 12, seed=0)
    assert [int(item.id) for item, _ in rows] == training_order(3, 12, seed=0)
    for start in (0, 6):  # two rounds of all prompts: every completion once
        assert {(item.id, sample) for item, sample in rows[start : start + 6]} == {
            (item.id, sample) for item in items for sample in range(2)
        }
    assert assign_traces(traces, 12, seed=0) == rows
    assert assign_traces(traces, 12, seed=1) != rows
    with pytest.raises(InputError, match="no stored completion"):
        assign_traces({}, 1, seed=0)


def test_selected_traces_are_those_of_all_completions_in_memory(tmp_path: Path) -> None:
    """The same selection, made from lists of all completions: shuffled within each prompt, prompts in training order."""
    items = [Item(name, "t", "", None) for name in "abc"]
    rollouts = [
        rollout("x", [n, k] if (n + k) % 4 else [], item=name) for k in range(5) for n, name in enumerate("cxab")
    ]
    write_rollouts(tmp_path / "r.parquet", rollouts)
    ids_of_item = {i: [r.token_ids[:9] for r in rollouts if r.item_id == i.id and r.token_ids] for i in items}
    rng = random.Random(4)
    for completions in ids_of_item.values():
        rng.shuffle(completions)
    expected, visits = [], dict.fromkeys(items, 0)
    for position in training_order(3, 40, 4):
        completions = ids_of_item[items[position]]
        expected.append((items[position].id, completions[visits[items[position]] % len(completions)]))
        visits[items[position]] += 1
    traces, count = select_traces(
        tmp_path / "r.parquet",
        items,
        40,
        4,
        TraceReader(tokenizer=None, end_id=2, has_shared_tokens=True, kind="full", cap=9),
    )
    assert [(trace.item.id, trace.completion_ids) for trace in traces] == expected
    assert count == sum(map(len, ids_of_item.values()))


@pytest.mark.parametrize(
    ("sequences", "micro_batch", "ranks", "expected"),
    [
        (32, None, 1, (32, 1)),
        (32, 8, 1, (8, 4)),
        (32, 7, 1, (4, 8)),
        (32, 64, 2, (16, 1)),
        (30, 4, 2, (3, 5)),
    ],
)
def test_a_step_is_cut_without_changing_it(
    sequences: int, micro_batch: int | None, ranks: int, expected: tuple[int, int]
) -> None:
    assert cut_step(sequences, micro_batch, ranks) == expected
    assert expected[0] * expected[1] * ranks == sequences


def test_ranks_must_divide_a_step() -> None:
    with pytest.raises(InputError, match="do not divide over 3 processes"):
        cut_step(32, None, 3)


def test_an_answer_only_trace_is_not_taken_from_a_thought() -> None:
    assert final_answer(r"<think>so \boxed{4}</think>\boxed{5}") == r"\boxed{5}"
    assert final_answer(r"so \boxed{4}</think>\boxed{5}", opens_in_thought=True) == r"\boxed{5}"
    assert final_answer(r"so \boxed{4}? No, wait", opens_in_thought=True) is None
    assert final_answer(r"<think>so \boxed{4}? No, wait") is None
    assert final_answer("\\boxed{5}\n\nQuestion: and then?\nAnswer: \\boxed{6}") == r"\boxed{5}"
