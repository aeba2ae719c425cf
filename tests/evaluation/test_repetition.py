"""Repetition: what counts as a loop, and what does not."""

import itertools
import math
import random
import time

import numpy as np
import pytest

from repro.evaluation.repetition import has_repeated_span


@pytest.mark.parametrize(
    "tokens",
    [
        [5] * 8,
        [1, 2] * 4,
        [9, 9, *[1, 2, 3] * 4, 7],
        [*range(20), *[4, 4, 4, 4, 4, 4, 4, 4]],
    ],
)
def test_loops(tokens):
    assert has_repeated_span(tokens)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [5],
        [5] * 7,  # eight tokens are the least
        [1, 2] * 3,  # three times is emphasis
        [1, 2, 3] * 3,
        list(range(40)),
        [1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7],
    ],
)
def test_no_loops(tokens):
    assert not has_repeated_span(tokens)


def test_a_loop_is_found_wherever_it_starts():
    for start in range(6):
        assert has_repeated_span([*range(100, 100 + start), *[1, 2, 3] * 4, 50])


def by_definition(ids):
    """Check every span at every position."""
    for period in range(1, len(ids) // 4 + 1):
        matched = 0
        for i in range(period, len(ids)):
            matched = matched + 1 if ids[i] == ids[i - period] else 0
            if matched + period >= max(4 * period, 8):
                return True
    return False


def test_verdicts_are_those_of_the_definition_for_all_short_words():
    for length in range(12):
        for word in itertools.product((0, 1), repeat=length):
            assert has_repeated_span(word) == by_definition(word), word


def test_verdicts_are_those_of_the_definition_where_loops_are_planted():
    rng = random.Random(0)
    repeating = 0
    for _ in range(600):
        length, letters = rng.randrange(12, 130), rng.choice([1, 2, 3, 5, 1000])
        ids = [rng.randrange(-letters, letters) for _ in range(length)]
        period, start = rng.randrange(1, length // 3), rng.randrange(length)
        for i in range(max(start, period), min(length, start + rng.randrange(2 * period, 5 * period + 2))):
            ids[i] = ids[i - period]
        repeating += by_definition(ids)
        assert has_repeated_span(ids) == by_definition(ids), ids
        assert has_repeated_span(np.array(ids, dtype=np.int32)) == by_definition(ids), ids
    assert 120 < repeating < 480


def thue_morse(length):
    return np.array([n.bit_count() % 2 for n in range(length)])


def broken_loops(length):
    """Spans of ever more tokens, each a token short of four times in a row."""
    spans = [np.tile(np.arange(period), 4)[:-1] for period in range(8, 256)]
    return np.concatenate(spans)[:length]


@pytest.mark.parametrize(
    "tokens",
    [
        lambda length: np.random.default_rng(0).integers(0, 150_000, length),
        lambda length: np.random.default_rng(0).permutation(length),
        thue_morse,  # squares everywhere, and no span even two and a half times
        lambda length: np.repeat(np.random.default_rng(0).permutation(length // 7 + 1), 7)[
            :length
        ],  # one short of a loop
        broken_loops,
    ],
    ids=["random", "permutation", "squares", "sevens", "broken loops"],
)
@pytest.mark.load_sensitive
def test_four_times_the_tokens_take_little_more_than_four_times_as_long(tokens):
    """At most 2.5 times per doubling: T log T takes 2.2 times at these lengths, span by span takes four times."""
    completions = [tokens(4096), tokens(16384)]
    best = [math.inf, math.inf]
    for turn in range(7):  # turn by turn: other work on the machine slows both
        if turn > 1 and best[1] / best[0] < 2.5**2:
            break
        for number, ids in enumerate(completions):
            start = time.process_time()
            assert not has_repeated_span(ids)
            best[number] = min(best[number], time.process_time() - start)
    assert best[1] / best[0] < 2.5**2
