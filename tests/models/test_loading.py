"""Broken model folders: refused with a one-line message, before any work."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from repro.errors import InputError
from repro.models.loading import check_loadable, load_config, load_for_training, load_model, load_tokenizer, locate
from repro.toy.models import MODELS


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(locate("toy:qwen3-student"), tmp_path / "model")


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "noise", "header"])
def test_incomplete_weights_are_refused(folder, change):
    weights = next(folder.glob("*.safetensors"))
    content = weights.read_bytes()
    contents = {
        "cut": content[:-1],
        "longer": content + b"x",
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "header": (5).to_bytes(8, "little") + b"[1,2]" + content,
    }
    weights.write_bytes(contents[change])
    with pytest.raises(InputError, match=r"not a complete safetensors file\. Copy or save it again"):
        locate(str(folder))
    weights.write_bytes(content)
    assert locate(str(folder)) == folder


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_configuration_that_is_not_an_object_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json is not a JSON object"):
        locate(str(folder))


def test_an_unknown_model_type_is_a_one_line_error(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))
    for load in (load_config, load_model):
        with pytest.raises(InputError, match=r"cannot be loaded: .*nosuch") as error:
            load(folder)
        assert "\n" not in str(error.value)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("change", "message"), [("lacks", r"missing \(1, for example"), ("shape", "of a different shape")]
)
def test_weights_that_do_not_fit_the_configuration_are_not_initialised_at_random(folder, change, message):
    weights = next(folder.glob("*.safetensors"))
    tensors = load_file(weights)
    name = next(name for name in tensors if "q_proj" in name)
    cut = tensors.pop(name)[:-1].clone()
    save_file(tensors | ({name: cut} if change == "shape" else {}), weights, metadata={"format": "pt"})
    for load in (load_model, load_for_training, check_loadable):
        with pytest.raises(InputError, match=f"{message}.*{name}"):
            load(folder)


@pytest.mark.parametrize("name", [name for name in MODELS if "reward" not in name])
def test_every_toy_model_is_complete(name):
    check_loadable(locate(name))


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads"])
@pytest.mark.parametrize("value", ["abc", 0, None])
def test_an_invalid_configuration_is_a_one_line_error(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(InputError, match=r"cannot be loaded|missing|different shape") as error:
        check_loadable(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": "1.0"}'])
def test_a_broken_tokenizer_is_a_one_line_error(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="cannot be loaded") as error:
        check_loadable(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("load", [load_config, load_model, load_for_training, check_loadable])
def test_code_in_a_model_folder_never_runs(folder, monkeypatch, load):
    """transformers would ask for permission on the terminal."""
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "strange"}
    named = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": named}))
    (folder / "code.py").write_text("raise SystemExit('untrusted code')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for permission"))
    with pytest.raises(InputError, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize("name", ["LlamaTokenizer", "LlamaTokenizerFast"])
def test_text_is_split_as_the_tokenizer_file_says_whatever_class_is_named(folder, name):
    """As published with DeepSeek's distilled models; transformers 5 alone splits at no space and loses them."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": name}))
    text = "Take 12 and 30:\n\n  x = [1, 2]"
    saved = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    by_class = AutoTokenizer.from_pretrained(folder)
    assert by_class(text, add_special_tokens=False)["input_ids"] != saved  # else this module need not care any more
    tokenizer = load_tokenizer(folder)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == saved
    assert tokenizer.decode(saved) == text
    assert (tokenizer.eos_token, tokenizer.chat_template) == (by_class.eos_token, by_class.chat_template)


def test_a_tokenizer_that_was_changed_on_disk_is_read_again(folder):
    before = load_tokenizer(folder)("x y", add_special_tokens=False)["input_ids"]
    file = folder / "tokenizer.json"
    state = json.loads(file.read_text())
    file.write_text(json.dumps(state | {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": ""}}))
    assert load_tokenizer(folder)("x y", add_special_tokens=False)["input_ids"] != before
