"""A miniature is loaded as the model that it stands for: same architecture, tokenizer and template; its completions end."""

import json

import pytest
import torch
from tiny_models import qwen_tokenizer, save_gemma, save_llama, save_multimodal_gemma, save_qwen
from transformers import DeepseekV3Config, GPT2Config, LlamaConfig

from repro.errors import InputError
from repro.evaluation.reward_model import RewardModel, check_reward_model
from repro.models import miniature
from repro.models.chat_tokens import prompt_token_ids
from repro.models.loading import load_config, load_model, load_tokenizer
from repro.models.miniature import LAYERS, SIZES, make_miniature, shrink_config

LESSONS = [(f"{a} + {b} = ?", f"Answer: {a + b}") for a in range(4) for b in range(4)]
PUBLISHED = {  # google/gemma-3-4b-it, shortened
    "model_type": "gemma3",
    "mm_tokens_per_image": 256,
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 1024,
        "vocab_size": 262208,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 5 + ["sliding_attention"] * 4,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "patch_size": 14},
}


def remove_weights(folder):
    """Leave what a miniature is made from, and a file in the weights' place: it must not be read."""
    for file in folder.glob("*.safetensors"):
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return folder


@pytest.mark.parametrize("save", [save_qwen, save_gemma, save_multimodal_gemma, save_llama])
def test_it_is_loaded_as_its_model_and_completes_as_in_the_lessons(save, tmp_path):
    source = remove_weights(save(tmp_path / "model"))
    folder = make_miniature(str(source), tmp_path / "miniatures", LESSONS)
    before, after = load_config(source), load_config(folder)
    assert (after.model_type, after.architectures) == (before.model_type, before.architectures)
    assert after.get_text_config().vocab_size == before.get_text_config().vocab_size
    tokenizer = load_tokenizer(folder)
    assert tokenizer.get_vocab() == load_tokenizer(source).get_vocab()
    assert tokenizer.chat_template == load_tokenizer(source).chat_template
    read = {name: json.loads((place / "generation_config.json").read_text()) for name, place in
            (("model", source), ("miniature", folder))}  # fmt: skip
    assert read["miniature"]["eos_token_id"] == read["model"]["eos_token_id"]
    assert read["miniature"]["temperature"] == 0.6
    model = load_model(folder)
    assert model.config.num_hidden_layers == LAYERS
    prompt = prompt_token_ids(tokenizer, "1 + 2 = ?")
    with torch.no_grad():
        output = model.generate(
            torch.tensor([prompt]), max_new_tokens=24, do_sample=False, repetition_penalty=1.0, top_k=None, top_p=None
        )
    text = tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=False)
    assert text.startswith("Answer: ")
    assert len(output[0]) < len(prompt) + 24


def test_a_reward_model_is_a_classifier_with_one_logit(tmp_path):
    tokenizer = qwen_tokenizer()
    source = tmp_path / "scorer"
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id)
    config.architectures = ["LlamaForSequenceClassification"]
    config.save_pretrained(source)
    tokenizer.save_pretrained(source)
    (source / "model.safetensors").touch()
    remove_weights(source)
    folder = make_miniature(str(source), tmp_path / "miniatures", [], is_reward_model=True)
    check_reward_model(folder)
    (score,) = RewardModel(folder).score(["2 + 2 = ?"], ["4"])
    assert 0 < score < 1


def test_published_sizes_shrink_and_ratios_stay():
    small = shrink_config(PUBLISHED)
    text, tower = small["text_config"], small["vision_config"]
    assert text["layer_types"] == ["sliding_attention", "full_attention"]
    assert (text["num_hidden_layers"], tower["num_hidden_layers"]) == (2, LAYERS)
    assert (text["num_attention_heads"], text["num_key_value_heads"]) == (4, 2)
    assert text["hidden_size"] == tower["hidden_size"] == SIZES["num_attention_heads"] * SIZES["head_dim"]
    kept = {"sliding_window": 1024, "vocab_size": 262208}
    assert {name: text[name] for name in kept} == kept
    assert (small["mm_tokens_per_image"], tower["patch_size"]) == (256, 14)
    assert (
        shrink_config({"num_hidden_layers": 40, "layer_types": ["full_attention"] * 40})["layer_types"]
        == ["full_attention"] * 2
    )


def test_one_is_made_once_and_again_when_what_it_is_made_from_has_changed(tmp_path):
    source = save_qwen(tmp_path / "model")
    first = make_miniature(str(source), tmp_path / "miniatures", LESSONS[:2])
    time = (first / "model.safetensors").stat().st_mtime_ns
    assert make_miniature(str(source), tmp_path / "miniatures", LESSONS[:2]) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == time
    (source / "chat_template.jinja").write_text("{{ messages[0]['content'] }}<|im_end|>")
    assert make_miniature(str(source), tmp_path / "miniatures", LESSONS[:2]) != first
    assert len(list((tmp_path / "miniatures").iterdir())) == 2


def test_an_architecture_that_cannot_shrink_is_named(tmp_path):
    source = save_llama(tmp_path / "model")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"hidden_act": "no such function"}))
    with pytest.raises(InputError, match=r"model .*: no miniature can be made of its architecture \(llama\)"):
        make_miniature(str(source), tmp_path / "miniatures", LESSONS)
    assert not (tmp_path / "miniatures").exists()


def test_equal_recipes_give_equal_weights(tmp_path):
    source = save_qwen(tmp_path / "model")
    torch.rand(3)  # what came before in the process does not matter
    folders = [make_miniature(str(source), tmp_path / place, LESSONS[:3]) for place in ("first", "second")]
    first, second = (folder.joinpath("model.safetensors").read_bytes() for folder in folders)
    assert first == second


def test_models_of_one_configuration_differ(tmp_path):
    """A fine-tuned model and its base: between equal miniatures every divergence would be 0."""
    sources = [save_qwen(tmp_path / place / "model", seed=seed) for seed, place in enumerate(("first", "second"))]
    folders = [make_miniature(str(source), tmp_path / "miniatures", LESSONS[:3]) for source in sources]
    first, second = (load_model(folder).state_dict() for folder in folders)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def save_config(config, folder):
    """Save a configuration with a tokenizer, and a file in the weights' place."""
    qwen_tokenizer().save_pretrained(folder)
    config.vocab_size = len(qwen_tokenizer())
    config.save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return remove_weights(folder)


def test_sizes_are_found_under_their_names_in_the_configuration(tmp_path):
    folder = make_miniature(str(save_config(GPT2Config(), tmp_path / "model")), tmp_path / "miniatures", LESSONS)
    config = load_config(folder)
    assert (config.n_embd, config.n_layer, config.n_head) == (128, LAYERS, 4)


def test_experts_and_compressed_attention_are_made_small(tmp_path, monkeypatch):
    """Its head_dim belongs to the rotary part of a head."""
    monkeypatch.setattr(miniature, "STEPS", 2)  # its experts train slowly on a CPU, a minute in all
    source = save_config(DeepseekV3Config(n_routed_experts=16, n_group=4), tmp_path / "model")
    folder = make_miniature(str(source), tmp_path / "miniatures", LESSONS)
    assert load_config(folder).hidden_size == SIZES["hidden_size"]


def test_a_model_that_stays_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(miniature, "MOST_PARAMETERS", 1000)
    with pytest.raises(InputError, match=r"architecture \(qwen3\): [\d,]+ parameters are left"):
        make_miniature(str(save_qwen(tmp_path / "model")), tmp_path / "miniatures", LESSONS)
    assert not (tmp_path / "miniatures").exists()
