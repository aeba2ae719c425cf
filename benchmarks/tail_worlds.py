"""Pairs of models whose tail noise is known, to judge Figure 2's claims on.

A step has four likely candidates, drawn anew, on top of a frequency prior over the vocabulary. The teacher is the student but
for one thing:
    nothing   the candidates' probabilities are exchanged, the tail (all other ids) is the same: it carries exactly nothing.
    even      the student's tail has no frequency prior, and the teacher's differs from it by noise.
    frequent  the student's tail follows the frequency prior, the teacher's does not, and they agree on the candidates.
"""

from typing import Literal

import torch

from repro.diagnosis.blocks import block_values
from repro.diagnosis.frequency import Frequencies
from repro.tables.measured_table import MeasuredTable
from repro.traps import VocabularyContributions

Tail = Literal["nothing", "even", "frequent"]
VOCABULARY, CANDIDATES = 120, 4
BLOCKS, STEPS = 20, 100
KS = (1, CANDIDATES, VOCABULARY)


def draw_tail_world(tail: Tail, seed: int) -> MeasuredTable:
    """Sample a world of 20 blocks of 100 steps, and measure it as a diagnosis does."""
    generator = torch.Generator().manual_seed(seed)
    blocks = []
    for _ in range(BLOCKS):
        p_logits, q_logits = _logits(tail, generator)
        ids = torch.multinomial(p_logits.softmax(-1), 1, generator=generator)[:, 0]
        accumulator = VocabularyContributions(VOCABULARY, KS)
        accumulator.update(p_logits[None], q_logits[None], ids[None], torch.ones(1, STEPS, dtype=torch.bool))
        blocks.append(accumulator.result())
    table = MeasuredTable("figure2", "toy", "simulated", (0,))
    for measure in block_values("task", Frequencies.of_blocks(blocks), CANDIDATES):
        row, metric = (
            ("tail", "tail_share") if measure.metric == "tail_share" else (measure.metric, "frequency_correlation")
        )
        table.add(row, "task", metric, measure.items, [measure.value_P], [measure.weight_P])
    return table


def _logits(tail: Tail, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the student's and the teacher's logits, [steps, vocabulary] each."""
    prior = torch.linspace(2.5, -2.5, VOCABULARY, dtype=torch.float64).repeat(STEPS, 1)
    student = torch.zeros_like(prior) if tail == "even" else prior.clone()
    # Half of the candidates are drawn by the prior, so that frequent tokens are likely in context, too.
    weights = (prior.softmax(-1) + 1 / VOCABULARY).sqrt()
    candidates = torch.multinomial(weights, CANDIDATES, generator=generator)
    heights = 4.5 + 2 * torch.rand(STEPS, CANDIDATES, generator=generator, dtype=torch.float64)
    student.scatter_(1, candidates, heights)
    teacher = student.clone()
    if tail == "nothing":
        teacher.scatter_(1, candidates, heights.flip(-1))
        return student, teacher
    noise = torch.randn(STEPS, VOCABULARY, generator=generator, dtype=torch.float64)
    teacher = student + noise if tail == "even" else noise / 2 - 2
    teacher.scatter_(1, candidates, heights)
    return student, teacher
