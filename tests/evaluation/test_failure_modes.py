"""The rules on written examples, and their agreement with labels by hand (failure_labels.md)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from repro.evaluation.failure_modes import (
    find_rechecks,
    has_broken_form,
    is_repetitive,
    is_self_correction,
    mode_of,
    repeated_share,
    states_answer,
)

LABELS = [json.loads(line) for line in (Path(__file__).parent / "failure_labels.jsonl").read_text("utf-8").splitlines()]
RIGHT_THEN_FLIP = (
    "There are 3 boxes of 12, so the answer is 36. Wait, let me verify: 12 + 3 = 15, so it must be 15. \\boxed{15}"
)


@pytest.mark.parametrize(
    ("text", "answer", "ended", "mode"),
    [
        ("3 times 12 is 36. \\boxed{36}", "36", True, None),
        ("The boxes hold 12 and 3 more, that is 15. \\boxed{15}", "15", True, "hallucination"),
        (RIGHT_THEN_FLIP, "15", True, "self_correction"),
        ("Hmm, wait. 12 + 3 = 15. Let me double-check: yes. \\boxed{15}", "15", True, "hallucination"),
        ("36 it is. Thus \\boxed{15}", "15", True, "hallucination"),
        ("the box the box the box the box the box the box", None, False, "degradation"),
        ("the box the box the box the box the box \\boxed{15}", "15", True, "degradation"),
        ("I would say many.", None, True, "degradation"),
        ("First we count the boxes, and then", None, False, None),
        ("", None, True, "degradation"),
        ("so \\boxed{ then 2 \\boxed{2}", "2", True, "degradation"),
        ("so \\boxed{two boxes}", "two boxes", True, "degradation"),
        ("Wait, wait, wait, wait, wait, wait, wait, wait, wait, 36 then 15 \\boxed{15}", "15", True, "degradation"),
    ],
)
def test_written_examples(text, answer, ended, mode):
    assert mode_of(text, kind="numeric", key="36", answer=answer, ended=ended) == mode


@pytest.mark.parametrize(
    ("text", "answer", "mode"),
    [
        ("Plants need light, so (B). Hold on, could it be D? Answer: D", "D", "self_correction"),
        ("It could be B. Actually, deserts are dry. Answer: D", "D", "self_correction"),
        ("Answer: D", "D", "hallucination"),
        ("Bob thinks D. Wait. Answer: D", "D", "hallucination"),
        ("The third option.", None, "degradation"),
    ],
)
def test_written_choices(text, answer, mode):
    assert mode_of(text, kind="choice", key="B", answer=answer, ended=True) == mode


def test_a_number_is_stated_whole():
    for text in ("136 boxes", "36.5 boxes", "3.36", "x36"):
        assert not states_answer(text, kind="numeric", key="36")
    for text in ("it is 36.", "36 boxes", "$36", "=36>>", "36.0 in all"):
        assert states_answer(text, kind="numeric", key="36")
    assert states_answer("in all 10,800 dollars", kind="numeric", key="10800")
    assert states_answer("so x = \\sqrt{2}", kind="numeric", key="\\sqrt{2}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("The answer is (B).", "B"),
        ("So the answer must be option B, I think.", "B"),
        ("Answer: C", "C"),
        ("I choose D because it orbits.", "D"),
        ("Option A is correct.", "A"),
        ("which is (I)", "I"),
        ("so \\boxed{(C)}", "C"),
    ],
)
def test_stated_choices(text, key):
    assert states_answer(text, kind="choice", key=key)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("I think we need to look again.", "I"),
        ("A planet orbits a star.", "A"),
        ("The options are (A) a fox (B) a hen (C) a cow (D) a dog.", "B"),
        ("Is it B? Vitamin B helps.", "B"),
        ("The answer is (C).", "B"),
        ("It is Ada who asked.", "A"),
    ],
)
def test_a_letter_in_passing_is_no_choice(text, key):
    assert not states_answer(text, kind="choice", key=key)


def test_phrases_inside_words_are_no_rechecks():
    assert not find_rechecks("He waits for the waiter; the actual price, actually paid, is 4.")
    assert len(find_rechecks("Wait. Let me recheck. On second thought, no.")) == 3


def test_only_an_answer_before_the_recheck_counts():
    assert is_self_correction("36. Wait, no.", kind="numeric", key="36")
    assert not is_self_correction("Wait, is it 36? No.", kind="numeric", key="36")


def test_repeated_share():
    assert repeated_share(["a", "b"] * 5) == 0  # too short
    assert repeated_share([str(n) for n in range(40)]) == 0
    # two words in turn, 40 words: 37 4-grams of 2 kinds
    assert repeated_share(["a", "b"] * 20) == pytest.approx(35 / 37)
    assert is_repetitive(" ".join([*"abcde"] * 8))
    assert not is_repetitive(" ".join(map(str, range(60))))


def test_a_list_of_similar_lines_is_not_repetitive():
    text = "\n".join(f"Room {n} has {n + 2} chairs, so {n * 3} in all." for n in range(8))
    assert not is_repetitive(text)


def test_a_closed_box_has_no_broken_form():
    assert not has_broken_form("\\boxed{\\frac{1}{2}}", kind="numeric", key="0.5", answer="0.5")
    assert not has_broken_form("\\boxed{\\sqrt{2}}", kind="numeric", key="\\sqrt{3}", answer="\\sqrt{2}")


def test_rules_are_fast_on_degenerate_text():
    text = "wait " * 20_000 + "\\boxed{" * 2_000
    assert mode_of(text, kind="numeric", key="3", answer=None, ended=False) == "degradation"


def verdict_on(row):
    kind = row.get("kind", "numeric")
    return mode_of(row["text"], kind=kind, key=row["key"], answer=row["answer"], ended=row["ended"])


def agreement(rows):
    """Return (pairs of label and rule, Cohen's kappa). A wrong completion without a mode is "none" in both."""
    pairs = [(row["label"], verdict_on(row) or "none") for row in rows]
    labels, rules = (Counter(verdicts) for verdicts in zip(*pairs))
    expected = sum(labels[mode] * rules[mode] for mode in labels) / len(pairs) ** 2
    observed = sum(a == b for a, b in pairs) / len(pairs)
    return pairs, (observed - expected) / (1 - expected)


WRONG = [row for row in LABELS if row["label"] is not None]


@pytest.mark.parametrize(
    ("draws", "count", "kappa"),
    [((1,), 104, 0.94), ((2,), 38, 0.82), ((1, 2), 142, 0.91), ((3,), 70, 0.94), ((4,), 48, 0.83), ((3, 4), 118, 0.89)],
)
def test_agreement_with_labels_by_hand(draws, count, kappa):
    """The table in failure_labels.md."""
    rows = [row for row in WRONG if row["draw"] in draws]
    assert len(rows) == count
    assert agreement(rows)[1] == pytest.approx(kappa, abs=0.005)


def test_agreement_where_an_answer_is_read():
    """Elsewhere the label follows from the definition: choice completions alone, 35 of 118."""
    rows = [row for row in WRONG if row["draw"] in (3, 4) and row["answer"] is not None]
    pairs, kappa = agreement(rows)
    assert len(pairs) == 35
    assert kappa == pytest.approx(0.61, abs=0.005)


def test_disagreements_of_labels_and_rules():
    pairs = agreement(WRONG)[0]
    assert {row["source"] for row in WRONG} == {"gsm8k", "toy", "toy-choice", "csqa"}
    assert Counter(pair for pair in pairs if pair[0] != pair[1]) == {
        ("degradation", "hallucination"): 10,
        ("none", "degradation"): 1,
        ("hallucination", "degradation"): 1,
    }


def test_right_completions_have_no_mode():
    for row in LABELS:
        if row["label"] is None:
            assert verdict_on(row) is None
