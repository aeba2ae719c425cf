import pytest
from tiny_models import gemma_tokenizer, qwen_tokenizer

from repro.distillation.traces import Trace, draw, final_answer, student_ids
from repro.errors import InputError
from repro.generation.rollouts import Rollout
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


def rollout(text: str, ids: list[int], stop: str = "eos") -> Rollout:
    return Rollout("a", "t", "p", 0, [], ids, [0.0] * len(ids), text, stop)  # type: ignore[arg-type]


def test_shared_tokens_are_kept_as_they_were_sampled() -> None:
    one = rollout("whatever", [7, 8, 9, 2])
    assert student_ids(one, None, 2, shared=True, kind="full", cap=10) == [7, 8, 9, 2]
    assert student_ids(one, None, 2, shared=True, kind="full", cap=3) == [7, 8, 9]


def test_text_is_encoded_for_another_tokenizer() -> None:
    gemma = gemma_tokenizer()
    end = gemma.convert_tokens_to_ids("<end_of_turn>")
    plain = gemma("a 1", add_special_tokens=False)["input_ids"]
    ended, cut = (rollout("a 1", [7, 8], stop) for stop in ("eos", "length"))
    assert student_ids(ended, gemma, end, shared=False, kind="full", cap=99) == [*plain, end]
    assert student_ids(cut, gemma, end, shared=False, kind="full", cap=99) == plain


def test_answer_only_drops_what_states_no_answer() -> None:
    qwen = qwen_tokenizer()
    one = rollout(r"because \boxed{4}, yes", [1, 2, 3])
    ids = student_ids(one, qwen, 2, shared=True, kind="answer-only", cap=99)
    assert qwen.decode(ids) == r"\boxed{4}<|im_end|>"
    assert student_ids(rollout("hm", [1]), qwen, 2, shared=True, kind="answer-only", cap=99) == []


def test_draw_takes_every_prompt_and_then_its_next_completion() -> None:
    items = [Item(str(n), "t", "", None) for n in range(3)]
    traces = [Trace(item, [sample]) for item in items for sample in range(2)]
    rows = draw(traces, 12, seed=0)
    assert [int(row.item.id) for row in rows] == training_order(3, 12, seed=0)
    for start in (0, 6):  # two rounds of all prompts: every completion once
        assert {(row.item.id, row.completion_ids[0]) for row in rows[start : start + 6]} == {
            (item.id, sample) for item in items for sample in range(2)
        }
    assert draw(traces, 12, seed=0) == rows
    assert draw(traces, 12, seed=1) != rows
    with pytest.raises(InputError, match="no stored completion"):
        draw([], 1, seed=0)


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
