"""Stages: the typed units of work of a study, identified by their frozen configuration. Imports no torch.

Identity holds what changes the result (settings, seeds, content of models and data, the stage's version) and leaves out
what does not (paths, machines). Two stages with equal identity share one artifact folder.
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
