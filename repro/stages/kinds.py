"""All kinds of stages: a stage is read back from JSON by its `kind`."""

from typing import Annotated

import pydantic

from repro.stages.answers import Grade, ScoreAnswers
from repro.stages.completions import Guarded, Mix, Rewrite, Sample, Score, Select
from repro.stages.measuring import Classify, Continue, Diagnose, Evaluate
from repro.stages.training import MakesModel
from repro.stages.weighing import Weigh

_Completions = Sample | Guarded | Select | Mix | Rewrite | Score | Weigh
_Kind = MakesModel | _Completions | Evaluate | Diagnose | Continue | Classify | Grade | ScoreAnswers
stage_adapter: pydantic.TypeAdapter[_Kind] = pydantic.TypeAdapter(
    Annotated[_Kind, pydantic.Field(discriminator="kind")]
)
