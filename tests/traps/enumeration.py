"""A world small enough to be written out: every completion of two models over three tokens and three steps.

Id 0 ends a completion. Each history has its own next-token distribution under p and under q; both use
probabilities in quarters, so that a sample with every completion in its exact proportion exists and sample means
*are* expectations.
"""

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

V, T, END = 3, 3, 0
HISTORIES = [()] + [(a,) for a in (1, 2)] + [(a, b) for a in (1, 2) for b in (1, 2)]


@dataclass(frozen=True)
class World:
    """p, q: [S, V] logits of every history. ids, mask, states: [N, T] all completions, with the history of each step."""

    p: Tensor
    q: Tensor
    states: Tensor
    ids: Tensor
    mask: Tensor

    def logits(self, table_SV: Tensor) -> Tensor:
        """[N, T, V] logits along each completion."""
        return table_SV[self.states]


def quarters(shuffle: torch.Generator) -> Tensor:
    """Return log-probabilities of a random order of (1/2, 1/4, 1/4) for each history."""
    orders = torch.tensor(sorted(set(permutations((2, 1, 1)))), dtype=torch.float64) / 4
    return orders[torch.randint(len(orders), (len(HISTORIES),), generator=shuffle)].log()


def make_world(seed: int, p_SV: Tensor | None = None, q_SV: Tensor | None = None) -> World:
    shuffle = torch.Generator().manual_seed(seed)
    completions: list[tuple[int, ...]] = []
    for history in HISTORIES:
        completions.append((*history, END))
        if len(history) == T - 1:
            completions += [(*history, last) for last in range(V) if last != END]
    ids, mask = torch.full((len(completions), T), -100), torch.zeros(len(completions), T, dtype=torch.bool)
    state = torch.zeros(len(completions), T, dtype=torch.long)
    for row, completion in enumerate(completions):
        for t, token in enumerate(completion):
            ids[row, t], mask[row, t] = token, True
            state[row, t] = HISTORIES.index(completion[:t])
    p_SV = quarters(shuffle) if p_SV is None else p_SV
    return World(p_SV, quarters(shuffle) if q_SV is None else q_SV, state, ids, mask)


def exact_sample(log_prob_N: Tensor) -> Tensor:
    """Return row numbers, each completion as often as its probability says (4^T completions in all)."""
    counts = log_prob_N.exp() * 4**T
    assert torch.allclose(counts, counts.round(), atol=1e-9)
    assert int(counts.round().sum()) == 4**T
    return torch.repeat_interleave(torch.arange(len(log_prob_N)), counts.round().long())
