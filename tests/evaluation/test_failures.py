"""Repetition: what counts as a loop, and what does not."""

import pytest

from repro.evaluation.failures import repeats


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
    assert repeats(tokens)


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
    assert not repeats(tokens)


def test_a_loop_is_found_wherever_it_starts():
    for start in range(6):
        assert repeats([*range(100, 100 + start), *[1, 2, 3] * 4, 50])
