"""The copy of a model that vLLM starts from in a training, where the model's own folder is not what is trained."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_multimodal_gemma, save_qwen
from transformers import AutoModelForCausalLM

from repro.models.loading import load_for_training, load_tokenizer
from repro.training.vllm_policy import _make_readable


@pytest.fixture
def multimodal(tmp_path):
    return save_multimodal_gemma(tmp_path / "model", seed=1)


def test_it_is_in_bfloat16_with_tied_weights_once(multimodal, tmp_path):
    model, tokenizer = load_for_training(multimodal), load_tokenizer(multimodal)
    assert model.config.tie_word_embeddings
    _make_readable(model, tokenizer, tmp_path / "work")
    assert model.name_or_path == str(tmp_path / "work" / "vllm-start")
    stored = load_file(tmp_path / "work" / "vllm-start" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert "lm_head.weight" not in stored
    config = json.loads((tmp_path / "work" / "vllm-start" / "config.json").read_text())
    assert config["dtype"] == "float32"  # by which vLLM chooses its own, as from the model's folder
    again = AutoModelForCausalLM.from_pretrained(model.name_or_path, dtype=torch.float32)
    assert all(
        torch.equal(a, b.bfloat16().float()) for a, b in zip(again.parameters(), model.parameters(), strict=True)
    )


def test_ranks_share_one_that_the_first_writes(multimodal, tmp_path, monkeypatch):
    work, saved = tmp_path / "work", []
    (work / "vllm-start.draft").mkdir(parents=True)
    (work / "vllm-start.draft" / "model-00001-of-00002.safetensors").touch()  # of a killed rank
    ranks = [load_for_training(multimodal) for _ in range(4)]
    tokenizer, save = load_tokenizer(multimodal), type(ranks[0]).save_pretrained

    def note(model, folder, **options):
        saved.append(folder)
        save(model, folder, **options)

    monkeypatch.setattr(type(ranks[0]), "save_pretrained", note)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda model: _make_readable(model, tokenizer, work), ranks))
    assert len(saved) == 1
    assert {model.name_or_path for model in ranks} == {str(work / "vllm-start")}
    assert not (work / "vllm-start.draft").exists()
    assert not list((work / "vllm-start").glob("model-*"))


def test_a_model_that_is_trained_as_it_is_stored_is_not_copied(tmp_path):
    folder = save_qwen(tmp_path / "model", hidden=16, seed=1)
    model = load_for_training(folder)
    _make_readable(model, load_tokenizer(folder), tmp_path / "work")
    assert model.name_or_path == str(folder)
    assert not (tmp_path / "work").exists()
