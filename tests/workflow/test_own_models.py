"""One stage on the user's own models: the options decide what is planned."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from repro.models.loading import locate
from repro.recipes import small, toy
from repro.workflow import own_models
from repro.workflow.own_models import StageOptions, distill_stage, evaluate_stage, sample_stage


@pytest.mark.parametrize(
    ("assignments", "count"), [([], 16), (["teacher_sampling.completions_per_prompt=3"], 3), (["eta=0.2"], 16)]
)
def test_sampling_takes_sixteen_completions_by_default(assignments, count):
    stage = sample_stage("toy:qwen3-student", StageOptions(tasks=("toy-bm4",), items=2, assignments=assignments))
    assert stage.config.completions_per_prompt == count


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(locate("toy:qwen3-student"), tmp_path / "model")


@pytest.mark.parametrize("gpus", [[], [{"name": "a GPU", "memory_gib": 80.0}]])
def test_a_tiny_model_in_a_folder_gets_the_settings_of_its_size(folder, monkeypatch, gpus):
    monkeypatch.setattr(own_models, "hardware", lambda: {"gpus": gpus})
    options = StageOptions(tasks=("toy-bm4",), items=2)
    assert evaluate_stage(str(folder), options).config == toy.settings().evaluation
    assert distill_stage(str(folder), "toy:qwen3-teacher", "gkd-rkl", options).config == toy.settings().gkd_rkl


def test_a_larger_model_in_a_folder_gets_the_small_scale(folder, monkeypatch):
    monkeypatch.setattr(own_models, "hardware", lambda: {"gpus": []})
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    rows = own_models.TOY_PARAMETERS // 64 + 1
    save_file(tensors | {"model.embed_tokens.weight": torch.zeros(rows, 64)}, weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    stage = evaluate_stage(str(folder), StageOptions(tasks=("toy-bm4",), items=2))
    assert stage.config == small.settings().evaluation.model_copy(update={"engine": "transformers"})
