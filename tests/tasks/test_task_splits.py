"""Splits and order depend on content and seed only."""

from collections.abc import Sequence

import pytest
from tasks.schema_rows import GSM8K, Write

from repro.tasks import registry
from repro.tasks.splits import TEST_SHARE, content_hash, seeded_order, select_split

CONTENTS = [content_hash(f"problem {n}") for n in range(4000)]


def test_the_test_share_is_met() -> None:
    test = select_split(CONTENTS, "test")
    assert abs(len(test) / len(CONTENTS) - TEST_SHARE) < 0.015
    assert sorted([*test, *select_split(CONTENTS, "train")]) == sorted(CONTENTS)


def test_added_rows_do_not_move_others() -> None:
    before = set(select_split(CONTENTS[:2000], "test"))
    assert before == set(select_split(CONTENTS, "test")) & set(CONTENTS[:2000])


@pytest.mark.parametrize("count", range(2, 30))
def test_no_split_is_empty(count: int) -> None:
    for start in range(0, 300, 10):
        contents: Sequence[str] = CONTENTS[start : start + count]
        assert 0 < len(select_split(contents, "test")) < count


def test_normalisation() -> None:
    assert content_hash("  What is\n2 + 2? ") == content_hash("what IS 2 + 2?")
    assert content_hash("x + 1") != content_hash("x - 1")
    assert content_hash("x² = 4") != content_hash("x2 = 4")
    assert content_hash("\ud800")  # a lone surrogate, as broken JSON escapes give


def test_the_seed_orders_items_within_a_split_only(write: Write) -> None:
    task = registry.get("gsm8k", data=write(GSM8K))
    first, second = (task.items("train", None, seed) for seed in (0, 1))
    assert first != second
    assert sorted(item.id for item in first) == sorted(item.id for item in second)
    assert task.items("train", 5, 0) == first[:5]
    assert task.items("train", 10_000, 0) == first


def test_added_ids_do_not_reorder_others() -> None:
    ids = [f"q{n}" for n in range(50)]
    few = [ids[position] for position in seeded_order(ids[:30], 7)]
    all_of_them = [ids[position] for position in seeded_order(ids, 7)]
    assert few == [item_id for item_id in all_of_them if item_id in set(ids[:30])]
