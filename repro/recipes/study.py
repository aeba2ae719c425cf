"""What a study is: rows, each the measurement of one model or pair, and the stages that they need."""

from dataclasses import dataclass
from typing import Literal

from repro.stages import Classify, Continue, Diagnose, Evaluate, Stage, topological_order

Scale = Literal["toy", "small", "paper"]
Measures = Literal["evaluation", "traps", "contributions", "knob", "cost", "gains", "prefixes", "failures"]
"""What is read off the rows' stages: answers (Table 2), traps (Tables 1 and 4), who drives the KL (Figure 2), answers, their
lengths and traps along eta (the sweep), what stages cost (Table 5), what students gain (Figure 1a), what teachers make of
prefixes (Figure 4), or how students fail (section 6.5)."""
SCALES: tuple[Scale, ...] = ("toy", "small", "paper")

METHODS = (
    "Teacher",
    "Distillable",
    "Undistillable",
    "Eta0-Teacher",
    "Student",
    "SFT",
    "GKD-FKL",
    "GKD-RKL",
    "Improve",
    "Misled",
    "Eta0-Student",
    "No-reasoning",
)
"""Rows of Table 2 in the paper's order, our controls among them."""
CONTROLS = frozenset({"Eta0-Teacher", "Eta0-Student", "No-reasoning"})
"""Rows that the paper lacks: plain RFT (eta = 0), its student, and teacher traces cut to their final answer."""


@dataclass(frozen=True)
class Row:
    """One measured model, or pair of models, of a study. method: the row's label in the stored table (see its row_label)."""

    family: str
    method: str
    seed: int
    stage: Evaluate | Diagnose | Continue | Classify


@dataclass(frozen=True)
class Study:
    """A plan: nothing of it has run."""

    name: str
    measures: Measures
    scale: Scale
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    settings: dict[str, object]
    assignments: tuple[str, ...]
    """The `key=value` wishes that the settings came from."""

    def stages(self) -> list[Stage]:
        """Everything to run, inputs first, each identity once."""
        return topological_order(row.stage for row in self.rows)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.family for row in self.rows))
