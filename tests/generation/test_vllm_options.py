"""What every vLLM engine is started with. vLLM itself is not needed: its part is a stand-in."""

import multiprocessing
import os
import sys
import types

import pytest
import trl.generation  # before the stand-in: it looks for vLLM's version
from tiny_models import save_multimodal_gemma, save_qwen

from repro.generation import vllm_options
from repro.generation.vllm_options import compiled_name, engine_length, source_options
from repro.system import hub_lock


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "vllm"))
    return tmp_path / "vllm"


@pytest.fixture
def models(tmp_path):
    """Two trainings of one model, and another architecture."""
    folders = [save_qwen(tmp_path / name, seed=n) for n, name in enumerate(("first", "second"))]
    config = (folders[1] / "config.json").read_text()
    (folders[1] / "config.json").write_text(config.replace("float32", "bfloat16"))
    return [*folders, save_qwen(tmp_path / "wide", hidden=64, seed=3)]


@pytest.fixture
def vllm(monkeypatch):
    """A stand-in for vLLM with the engine arguments of a version."""

    def install(*names):
        module = types.ModuleType("vllm")
        module.EngineArgs = type("EngineArgs", (), {"__dataclass_fields__": dict.fromkeys(names)})
        monkeypatch.setitem(sys.modules, "vllm", module)

    install("model", "language_model_only")
    return install


def test_trainings_of_one_model_have_one_name_in_turn(models):
    names = []
    for model in models:
        with compiled_name(model) as name:
            names.append(name)
            assert sorted(p.name for p in (model / "x").parent.iterdir()) == sorted(
                p.name for p in vllm_options.Path(name).iterdir()
            )
            assert vllm_options.Path(name).resolve() == model
    assert names[0] == names[1] != names[2]


def test_models_in_use_at_the_same_time_have_their_own_names(models):
    first, second, _ = models
    with compiled_name(first) as a, compiled_name(second) as b, compiled_name(first) as again:
        assert a != b
        assert again == a  # engines of one model share its name
        assert [vllm_options.Path(name).resolve() for name in (a, b)] == [first, second]
        with compiled_name(second) as shared:
            assert shared == b
    with compiled_name(second) as free:
        assert free == a  # the first name is free again


def _hold(model, ready, end):
    with compiled_name(model) as name:
        ready.put(name)
        end.wait(600)


@pytest.mark.load_sensitive
def test_a_killed_process_leaves_its_name(models):
    context = multiprocessing.get_context("fork")
    ready, end = context.Queue(), context.Event()
    process = context.Process(target=_hold, args=(models[0], ready, end))
    process.start()
    held = ready.get(timeout=300)
    with compiled_name(models[1]) as name:
        assert name != held
    process.kill()
    process.join()
    with compiled_name(models[1]) as name:
        assert name == held


def test_hub_ids_keep_their_name_and_no_link_is_no_error(models, cache, monkeypatch):
    with compiled_name("Qwen/Qwen3-8B") as name:
        assert name == "Qwen/Qwen3-8B"
    cache.write_text("a file where the folder should be")
    with compiled_name(models[0]) as name:
        assert name == str(models[0])


def test_lengths_are_rounded_up_to_what_the_model_has(tmp_path):
    model = save_qwen(tmp_path / "model", seed=0)
    config = (model / "config.json").read_text()
    positions = '"max_position_embeddings": '
    start = config.index(positions) + len(positions)
    for have, length, expected in ((40_960, 692, 1024), (40_960, 1024, 1024), (40_960, 8400, 9216), (128, 37, 128)):
        end = config.index(",", start)
        (model / "config.json").write_text(f"{config[:start]}{have}{config[end:]}")
        assert engine_length(model, length) == expected
    assert engine_length(model, 200) == 200  # more than the model has: vLLM says so itself


def test_only_the_language_model_is_loaded_where_vllm_can(tmp_path, vllm):
    gemma, qwen = save_multimodal_gemma(tmp_path / "gemma", seed=1), save_qwen(tmp_path / "qwen", seed=1)
    assert source_options(gemma)["language_model_only"] is True
    assert "language_model_only" not in source_options(qwen)
    vllm("model")  # an older version
    assert "language_model_only" not in source_options(gemma)


def test_trls_engine_starts_from_the_pinned_revision(tmp_path, vllm, monkeypatch):
    """The name that TRL passes on is that of the trained model; the commit, and the name for compiled code, are ours."""
    from repro.training import vllm_policy

    started = []
    module = sys.modules["vllm"]
    module.LLM = lambda **arguments: started.append(arguments)
    platforms = types.ModuleType("vllm.platforms")
    platforms.current_platform = types.SimpleNamespace(is_cpu=lambda: False)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    generation = types.ModuleType("trl.generation.vllm_generation")
    generation.LLM = module.LLM
    monkeypatch.setitem(sys.modules, "trl.generation.vllm_generation", generation)
    monkeypatch.setattr(trl.generation, "vllm_generation", generation, raising=False)
    monkeypatch.setattr(hub_lock, "pinned_revision", lambda name: "a" * 40)
    monkeypatch.setattr(vllm_options, "_has_towers", lambda model: False)
    monkeypatch.setenv("MASTER_PORT", "29500")  # as accelerate leaves it
    with vllm_policy._engine_options("Qwen/Qwen3-8B"):
        assert os.environ["MASTER_PORT"] != "29500"
        generation.LLM(model="Qwen/Qwen3-8B", max_model_len=8)
    folder = save_qwen(tmp_path / "trained", seed=1)
    with vllm_policy._engine_options(str(folder)):
        generation.LLM(model=str(folder), max_model_len=8)
    assert started[0] == {
        "model": "Qwen/Qwen3-8B",
        "max_model_len": 8,
        "revision": "a" * 40,
        "tokenizer_revision": "a" * 40,
    }
    assert started[1]["model"].endswith("/model-0")
    assert generation.LLM is module.LLM
