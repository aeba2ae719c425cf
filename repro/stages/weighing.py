"""The stage that weights completions by how learning from them would change a student's loss on a holdout."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from repro.distillation.config import WeighingConfig
from repro.stages.completions import Completions
from repro.stages.references import TaskData
from repro.stages.stage import Stage
from repro.stages.workload import Workload, scoring_workload

if TYPE_CHECKING:  # pydantic gets the union of models at the end of `training`, where all of them are defined
    from repro.stages.references import Model as ModelInput


class Weigh(Stage):
    """Weight completions for weighted SFT. Writes a row per completion: its value and its weight.

    model: the student whose loss is measured; holdout: the student's own completions, as a clean holdout.
    """

    kind: Literal["weigh"] = "weigh"
    version: ClassVar[int] = 2
    feeds_training: ClassVar[bool] = True

    completions: Completions
    holdout: Completions
    model: "ModelInput"
    config: WeighingConfig
    seed: int

    @property
    def data(self) -> tuple[TaskData, ...]:
        return self.completions.data

    @property
    def label(self) -> str:
        return f"weigh {self.completions.traces_label} for {self.model.model_label}"

    @property
    def workload(self) -> Workload:
        sampling = self.completions.config
        scoring = scoring_workload(self.procedure, self.model, sampling, sampling.completions_per_prompt)
        return replace(scoring, takes_gradient=True)
