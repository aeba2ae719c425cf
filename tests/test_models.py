"""Model folders that cannot be what they say they are: told in one line, before any work."""

import json
import shutil

import pytest

from repro.errors import InputError
from repro.models import load_config, load_model, load_tokenizer, locate


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
