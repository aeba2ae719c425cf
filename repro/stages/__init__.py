"""Stages: a study's typed units of work, identified by their frozen configuration. Imports no torch.

The identity includes what changes the result (settings, seeds, content of models and data, the stage's version) and
excludes what does not (paths, machines). Stages with equal identities share an artifact folder.
"""

from repro.stages.answers import Grade, ScoreAnswers
from repro.stages.completions import Completions, Guarded, Mix, Rewrite, Sample, Score, Select
from repro.stages.kinds import stage_adapter
from repro.stages.measuring import Classify, Continue, Diagnose, Evaluate
from repro.stages.output_layer import TrainOutputLayer
from repro.stages.references import BaseModelRef, ServedModelRef, TaskData
from repro.stages.stage import Stage, topological_order
from repro.stages.training import Calibrate, Distill, MakesModel, ModelInput
from repro.stages.weighing import Weigh

__all__ = [
    "BaseModelRef",
    "Calibrate",
    "Classify",
    "Completions",
    "Continue",
    "Diagnose",
    "Distill",
    "Evaluate",
    "Grade",
    "Guarded",
    "MakesModel",
    "Mix",
    "ModelInput",
    "Rewrite",
    "Sample",
    "Score",
    "ScoreAnswers",
    "Select",
    "ServedModelRef",
    "Stage",
    "TaskData",
    "TrainOutputLayer",
    "Weigh",
    "stage_adapter",
    "topological_order",
]
