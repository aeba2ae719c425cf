"""Two calibrations with equal KL to their start: the update is shrunk to it, and one that is too short says so."""

import json
from types import SimpleNamespace

import pytest
import torch
from calibration.test_trainer import lines, run
from peft import LoraConfig, PeftModel, get_peft_model

from repro.calibration import kl_match, merge
from repro.calibration.kl_match import BEYOND, IN_A_ROW, TOLERANCE, StopBeyond, stop_beyond
from repro.models.loading import load_for_training


def stops_at(kls, bound):
    """Return the step at which the callback ends a training with these logged KLs; None if it does not."""
    callback = StopBeyond(bound)
    for step in range(1, len(kls) + 1):
        control = SimpleNamespace(should_training_stop=False)
        callback.on_log(None, SimpleNamespace(log_history=[{"kl": x} for x in kls[:step]]), control)
        if control.should_training_stop:
            return step
    return None


def test_a_training_ends_once_it_is_beyond_and_no_single_step_ends_it():
    assert IN_A_ROW == 3
    assert stops_at([0.1, 0.9, 0.1, 0.4, 0.4, 0.4, 0.4], 0.4) == 6
    assert stops_at([0.1, 0.9, 0.1, 0.9, 0.9, 0.3], 0.4) is None


def test_the_bound_is_where_the_other_training_ended(tmp_path):
    (tmp_path / "history.jsonl").write_text("".join(json.dumps({"kl": x}) + "\n" for x in (0, 0, 0, 0, 0, 0.1, 0.2, 9)))
    assert stop_beyond(tmp_path).kl == pytest.approx(BEYOND * (0.2 + 9) / 2)
    (tmp_path / "history.jsonl").write_text('{"loss": 1}\n')
    assert stop_beyond(tmp_path) is None


@pytest.fixture(scope="module")
def items(items):
    """Half of the prompts: completions of each are read one by one."""
    return items[::2]


TASTE = {"eta": -1.0, "steps": 4, "learning_rate": 0.1, "reward": "taste"}


@pytest.fixture(scope="module")
def knob(tmp_path_factory, teacher, student, items):
    """A calibration that has moved a little; its artifact."""
    folder = tmp_path_factory.mktemp("knob")
    run(folder, teacher, student, items, eta=-1.0, steps=2)
    return folder / "out"


@pytest.fixture(scope="module")
def taste(tmp_path_factory, teacher, student, items, knob):
    """A control that was shrunk to the distance of the knob; its artifact and summary."""
    folder = tmp_path_factory.mktemp("taste")
    summary = run(folder, teacher, student, items, **TASTE, matches=knob)
    return folder / "out", summary


def test_a_control_is_shrunk_to_the_distance_of_the_knob(tmp_path, teacher, student, items, knob, taste):
    artifact, summary = taste
    assert summary["matched"] == 1
    assert 0 < summary["match_scale"] < 1
    assert summary["match_reached"] == pytest.approx(summary["match_kl"], rel=TOLERANCE)
    assert "KL match" not in summary.get("warnings", {})
    assert run(tmp_path, teacher, student, items, **TASTE, matches=knob) == summary
    for name in ("adapter/adapter_model.safetensors", "model/model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (artifact / name).read_bytes()


def test_the_saved_model_has_the_distance(tmp_path, teacher, student, items, taste, monkeypatch):
    """The merged folder's KL, measured from the files, is the one in the summary."""
    artifact, summary = taste
    distances = []

    def measured(policy, match, seed):
        with torch.no_grad():
            for name, parameter in policy.named_parameters():
                if "lora_B" in name:
                    parameter.zero_()
        distances.append(kl_match._distance(kl_match.load_for_training(match.calibrated).eval(), policy, match, seed))
        return {}

    monkeypatch.setattr("repro.calibration.merge.match_kl", measured)
    run(tmp_path, teacher, student, items, **TASTE | {"steps": 1}, matches=artifact)
    assert distances == [pytest.approx(summary["match_reached"], rel=1e-3)]


def test_an_update_that_is_too_short_is_named(tmp_path, teacher, student, items, knob):
    summary = run(
        tmp_path / "short", teacher, student, items, eta=-1.0, steps=1, learning_rate=1e-5, reward="taste", matches=knob
    )
    assert (summary["matched"], summary["match_scale"]) == (0, 1)
    assert summary["match_reached"] < summary["match_kl"]
    assert "more steps or a larger learning rate" in summary["warnings"]["KL match"]
    assert len(lines(tmp_path / "short" / "out")) == 1


def test_an_update_that_stays_too_large_is_not_told_to_grow():
    measured = {"matched": 0.0, "match_reached": 0.4, "match_kl": 0.2}
    message = kl_match.warning(measured)["KL match"]
    assert message.startswith("the KL to the start is 0.4 nats per token and should match 0.2")
    assert "larger learning rate" not in message
    assert kl_match.warning(measured | {"matched": 1.0}) == {}


def test_on_a_gpu_one_model_holds_both_adapters(teacher, knob, taste, monkeypatch):
    """The distance is that of the other's merged weights but for rounding, and nothing of the other's adapter is left."""
    policy = PeftModel.from_pretrained(load_for_training(teacher).eval(), str(taste[0] / "adapter"))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    match = kl_match.Match(knob / "model", [[5, 6, 7], [8, 9]], 8)
    merged = kl_match._wanted(policy, match, seed=0)
    assert merged > 0
    with monkeypatch.context() as patch:
        patch.setattr(kl_match, "_is_on_gpu", lambda policy: True)
        patch.setattr(kl_match, "load_for_training", lambda folder: pytest.fail("a second model was loaded"))
        assert kl_match._wanted(policy, match, seed=0) == pytest.approx(merged, rel=1e-4)
    after = policy.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert policy.active_adapter == "default"


def test_completions_are_sampled_in_bounded_batches(teacher, monkeypatch):
    model, prompts, sizes = load_for_training(teacher).eval(), [[5, 6, 7], [8, 9], [10], [11, 12]], []
    generate = model.generate

    def counted(**named):
        ids_NT = generate(**named)
        sizes.append(ids_NT.numel())
        return ids_NT

    monkeypatch.setattr(model, "generate", counted)
    complete = kl_match._sample(model, prompts, 8, seed=3)
    assert len(sizes) == 1
    most = 2 * kl_match.COMPLETIONS * (3 + 8)
    monkeypatch.setattr(kl_match, "SAMPLED_TOKENS", most)
    parts = kl_match._sample(model, prompts, 8, seed=3)
    assert len(sizes) == 3
    assert max(sizes[1:]) <= most
    assert [prompt for prompt, _ in parts] == [prompt for prompt, _ in complete]
    half = len(parts) // 2
    assert parts[half:] == kl_match._sample(model, prompts[2:], 8, seed=4)


@pytest.mark.parametrize("room", [True, False])
def test_the_trainers_model_makes_room_and_a_full_gpu_is_named(tmp_path, teacher, knob, monkeypatch, caplog, room):
    policy = get_peft_model(load_for_training(teacher), LoraConfig(r=2, target_modules="all-linear"))
    cuda = SimpleNamespace(is_available=lambda: True, mem_get_info=lambda: (2**40 if room else 2**20, 2**40))
    monkeypatch.setattr(merge, "torch", SimpleNamespace(cuda=cuda))
    moved, move = [], PeftModel.to
    monkeypatch.setattr(
        PeftModel, "to", lambda model, device: moved.append(device) if device == "cuda" else move(model, device)
    )
    monkeypatch.setattr(merge, "match_kl", lambda *_: {"match_scale": 1.0})
    monkeypatch.setattr(merge, "save_merged", lambda *_: {})
    measured: dict[str, float | None] = {}
    match = kl_match.Match(knob / "model", [[5]], 4)
    merge.save_adapter_and_merged(teacher, tmp_path, [], 4, 0, measured, match, policy, None)
    assert {parameter.device.type for parameter in policy.parameters()} == {"meta"}
    assert moved == ["cuda"] * room
    assert measured == {"match_scale": 1.0}
    assert ("matched on the CPU" in caplog.text) != room


@pytest.mark.parametrize("adapted", [False, True])
def test_a_hub_model_s_own_sampling_settings_do_not_change_the_completions(teacher, taste, adapted):
    """Qwen3's generation_config.json has temperature 0.6, top_k 20 and top_p 0.95: not the distribution of the KL."""
    base = load_for_training(teacher).eval()
    model = PeftModel.from_pretrained(base, str(taste[0] / "adapter")) if adapted else base
    expected = kl_match._sample(model, [[5, 6, 7]], 8, seed=3)
    base.generation_config.update(do_sample=True, temperature=0.01, top_p=0.01, min_p=0.9, repetition_penalty=5.0)
    settings = base.generation_config
    assert kl_match._sample(model, [[5, 6, 7]], 8, seed=3) == expected
    assert base.generation_config is settings
