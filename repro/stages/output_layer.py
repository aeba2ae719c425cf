"""The stage that trains a teacher's output layer against a proxy of the thief's student."""

from typing import TYPE_CHECKING, ClassVar, Literal

from repro.guards.config import OutputLayerConfig
from repro.stages.completions import Sample
from repro.stages.references import BaseModelRef, ModelPair, TaskData
from repro.stages.stage import Stage
from repro.stages.workload import PASSES, Workload

if TYPE_CHECKING:  # pydantic gets the union of models at the end of `training`, where all of them are defined
    from repro.stages.references import Model as ModelInput


class TrainOutputLayer(Stage):
    """Train only the output layer, on the teacher's own completions and away from a proxy (DOGe).

    The body is frozen. An output layer tied to the input embeddings is untied.
    """

    kind: Literal["train-output-layer"] = "train-output-layer"
    version: ClassVar[int] = 1
    feeds_training: ClassVar[bool] = True

    teacher: "ModelInput"
    proxy: BaseModelRef
    samples: Sample
    config: OutputLayerConfig
    seed: int

    @property
    def data(self) -> tuple[TaskData, ...]:
        return self.samples.data

    @property
    def reads_answers(self) -> bool:
        return True  # what precedes the final answer is reasoning

    @property
    def label(self) -> str:
        return f"train the output layer of {self.teacher.model_label}, strength {self.config.strength:g}"

    @property
    def base_model(self) -> BaseModelRef:
        """The published or local model underlying the trained one."""
        return self.teacher.base_model

    @property
    def model_label(self) -> str:
        """The name of the trained model in labels of stages."""
        return f"teacher with a trained output layer, strength {self.config.strength:g}"

    @property
    def workload(self) -> Workload:
        return Workload(
            main=self.teacher,
            frozen=self.proxy,
            passes=PASSES[self.procedure],
            frozen_in_step=True,
            output_layer_only=True,
            steps=self.config.steps,
            sequences_per_step=self.config.sequences_per_step,
            max_completion_tokens=self.config.max_completion_tokens,
        )

    @property
    def full_traces(self) -> Sample:
        return self.samples

    @property
    def model_pair(self) -> ModelPair:
        return ModelPair("distillation", self.base_model, self.proxy)

    def prompted_models(self) -> dict[str, bool]:
        return {self.base_model.name: self.config.reasoning}
