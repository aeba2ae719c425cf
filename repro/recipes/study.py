"""A study is a plan: measured rows, and the stages that they need. Nothing of it has run."""

from dataclasses import dataclass

from repro.recipes.studies import SCALES as SCALES
from repro.recipes.studies import Scale as Scale
from repro.stages import Classify, Continue, Diagnose, Evaluate, Grade, ScoreAnswers, Stage, topological_order

RowStage = Evaluate | Diagnose | Continue | Classify | Grade | ScoreAnswers
"""A stage whose artifact is measured."""


@dataclass(frozen=True)
class Row:
    """One measured model, or pair of models, of a study.

    Attributes:
        method: the row's label in the stored table (see its row_label).
        eta: the eta that its models were calibrated with, if the study sweeps eta.
        of: the label of its teacher's row, for a student whose teacher has a row too.
        guard: the label of the guard of its teacher, in a matrix of guards and attacks.
        plugin: the plug-in that added the row; None for the study's own.
    """

    family: str
    method: str
    seed: int
    stage: RowStage
    eta: float | None = None
    of: str | None = None
    guard: str | None = None
    plugin: str | None = None


@dataclass(frozen=True)
class Study:
    """A study's plan.

    Attributes:
        settings: everything that `--set` may change, as JSON has it.
        assignments: the user's `key=value` texts among them.
        is_rehearsal: its models are miniatures (`workflow.rehearsal`), so its numbers mean nothing.
    """

    name: str
    scale: Scale
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    settings: dict[str, object]
    assignments: tuple[str, ...]
    is_rehearsal: bool = False

    def stages(self) -> list[Stage]:
        """Return everything to run, inputs first, each identity once."""
        return topological_order(row.stage for row in self.rows)

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.family for row in self.rows))
