"""All kinds of stages: a stage is read back from JSON by its `kind`."""

from typing import Annotated

import pydantic

from repro.stages.measuring import Classify, Continue, Diagnose, Evaluate
from repro.stages.training import Calibrate, Distill, Sample

_Kind = Calibrate | Sample | Distill | Evaluate | Diagnose | Continue | Classify
stage_adapter: pydantic.TypeAdapter[_Kind] = pydantic.TypeAdapter(
    Annotated[_Kind, pydantic.Field(discriminator="kind")]
)
