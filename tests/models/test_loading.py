"""Model folders that cannot be what they say they are: told in one line, before any work."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from repro.errors import InputError
from repro.models.loading import check_loadable, load_config, load_for_training, load_model, load_tokenizer, locate
from repro.toy.models import MODELS


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(locate("toy:qwen3-student"), tmp_path / "model")


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "noise", "header"])
def test_weights_that_are_not_whole(folder, change):
    weights = next(folder.glob("*.safetensors"))
    content = weights.read_bytes()
    changed = {
        "cut": content[:-1],
        "longer": content + b"x",
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "header": (5).to_bytes(8, "little") + b"[1,2]" + content,
    }
    weights.write_bytes(changed[change])
    with pytest.raises(InputError, match=r"not a whole safetensors file\. Copy or save it again"):
        locate(str(folder))
    weights.write_bytes(content)
    assert locate(str(folder)) == folder


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_configuration_that_is_no_object(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json is not a JSON object"):
        locate(str(folder))


def test_what_transformers_cannot_read_is_one_line(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))
    for load in (load_config, load_model):
        with pytest.raises(InputError, match=r"cannot be loaded: .*nosuch") as told:
            load(folder)
        assert "\n" not in str(told.value)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("change", "words"), [("lacks", r"missing \(1, for example"), ("shape", "of a different shape")]
)
def test_weights_that_its_configuration_does_not_fit_are_not_drawn_at_random(folder, change, words):
    weights = next(folder.glob("*.safetensors"))
    tensors = load_file(weights)
    name = next(name for name in tensors if "q_proj" in name)
    cut = tensors.pop(name)[:-1].clone()
    save_file(tensors | ({name: cut} if change == "shape" else {}), weights, metadata={"format": "pt"})
    for load in (load_model, load_for_training, check_loadable):
        with pytest.raises(InputError, match=f"{words}.*{name}"):
            load(folder)


@pytest.mark.parametrize("name", [name for name in MODELS if "reward" not in name])
def test_every_toy_model_is_whole(name):
    check_loadable(locate(name))


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads"])
@pytest.mark.parametrize("value", ["abc", 0, None])
def test_a_configuration_of_nonsense_is_one_line(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(InputError, match=r"cannot be loaded|missing|different shape") as told:
        check_loadable(folder)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": "1.0"}'])
def test_a_broken_tokenizer_is_one_line(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="cannot be loaded") as told:
        check_loadable(folder)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("load", [load_config, load_model, load_for_training, check_loadable])
def test_code_that_comes_with_a_model_never_runs(folder, monkeypatch, load):
    """transformers would ask whether to run it, and take a yes for one."""
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "strange"}
    named = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    (folder / "code.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail("asked whether to run it"))
    with pytest.raises(InputError, match="cannot be loaded"):
        load(folder)
