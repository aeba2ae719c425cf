"""`repro doctor`: every check can fail, with its fix; at toy scale all are ok."""

import json
import shutil

import pytest
from stub_nvidia_smi import card, install

from repro.doctor import checks as doctor
from repro.doctor import model_checks as models
from repro.doctor import repeatability as scores
from repro.doctor import trial
from repro.doctor.finding import Finding
from repro.models import loading
from repro.models.loading import locate
from repro.planner.architectures import architecture
from repro.planner.model_memory import weights_gib
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Distill, Evaluate, Sample

TINY = ("tasks=toy-bm4", "train_items=8", "test_items=4")


def statuses(findings):
    return {finding.subject: finding.status for finding in findings}


def plan_with(**folders):
    return plan(
        "table2",
        scale="toy",
        seeds=1,
        assignments=(*TINY, *(f"families.qwen3.{role}={path}" for role, path in folders.items())),
    )


@pytest.fixture
def copy(tmp_path):
    def make(name, harm=lambda folder: None):
        folder = tmp_path / name.removeprefix("toy:")
        shutil.copytree(locate(name), folder)
        harm(folder)
        return folder

    return make


def test_checks_of_a_sound_study_are_ok():
    stages = plan_with().stages()
    findings = [*models.check_weights(stages), *models.check_models(stages), *models.check_pairs(stages)]
    findings += scores.check_scores(stages)
    assert {finding.status for finding in findings} == {"ok"}
    subjects = [finding.subject for finding in findings]
    assert {"weights of toy:qwen3-teacher", "template of toy:qwen3-target", "scores of toy:qwen3-target"} < set(
        subjects
    )


def test_a_tokenizer_without_template_fails(copy):
    student = copy("toy:qwen3-student", lambda folder: (folder / "chat_template.jinja").unlink())
    findings = list(models.check_models(plan_with(student=student).stages()))
    assert statuses(findings)[f"template of {student}"] == "fail"
    assert any("save a chat_template" in finding.message for finding in findings)


def test_models_of_two_families_fail(copy):
    findings = list(models.check_pairs(plan_with(student="toy:gemma3-student").stages()))
    assert [finding.status for finding in findings] == ["fail"]
    assert "different tokenizers" in findings[0].message


def test_a_teacher_with_another_template_warns(copy):
    def harm(folder):
        template = folder / "chat_template.jinja"
        template.write_text(template.read_text().replace("assistant", "helper"))

    findings = list(models.check_pairs(plan_with(teacher=copy("toy:qwen3-teacher", harm)).stages()))
    assert [finding.status for finding in findings] == ["warn"]


def test_damaged_weights_fail(copy):
    def harm(folder):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])

    teacher = copy("toy:qwen3-teacher", harm)
    assert statuses(scores.check_scores([s for s in plan_with().stages() if isinstance(s, Calibrate)])) == {
        "scores of toy:qwen3-target": "ok"
    }
    stages = [stage for stage in plan_with().stages() if isinstance(stage, Distill)]
    harmed = [s.model_copy(update={"teacher": s.teacher.model_copy(update={"name": str(teacher)})}) for s in stages[:2]]
    assert statuses(scores.check_scores(harmed))[f"scores of {teacher}"] == "fail"


def test_scores_that_change_between_calls_fail(monkeypatch):
    monkeypatch.setattr(scores, "_gaps", lambda name, spread: (1e-3, 0.0, 5))
    findings = list(scores.check_scores(plan_with().stages()))
    assert {finding.status for finding in findings} == {"fail"}
    assert "not repeatable" in findings[0].message
    monkeypatch.setattr(scores, "_gaps", lambda name, spread: (0.0, 1.0, 5))
    assert {finding.status for finding in scores.check_scores(plan_with().stages())} == {"warn"}


@pytest.mark.parametrize(
    ("sizes", "spread"), [([1.1], [False]), ([0.9], []), ([0.9, 0.9], [True]), ([0.4, 0.4], []), ([], [False])]
)
def test_a_model_that_one_gpu_does_not_hold_is_spread_over_all(monkeypatch, sizes, spread):
    """sizes: of the GPUs, in those of the model; where all together do not hold it, nothing is loaded."""
    (name,) = {s.workload.frozen.base_model.name for s in plan_with().stages() if isinstance(s, Calibrate)}
    need = weights_gib(architecture(name), 2) / scores.USABLE_SHARE
    used: list[bool] = []
    load = loading.load_model

    def note(model, *, spread):
        used.append(spread)
        return load(model)

    monkeypatch.setattr(loading, "load_model", note)
    monkeypatch.setattr(scores, "_gpus_gib", lambda: [size * need for size in sizes])
    (finding,) = scores.check_scores([s for s in plan_with().stages() if isinstance(s, Calibrate)])
    assert used == spread
    assert finding.status == ("ok" if spread else "warn")
    assert spread or "do not fit" in finding.message


def test_an_uncached_hub_model_fails_offline_and_warns_online(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stages = plan("table2", scale="small", seeds=1).stages()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert {finding.status for finding in models.check_weights(stages)} == {"fail"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    findings = list(models.check_weights(stages))
    assert {finding.status for finding in findings} == {"warn"}
    assert {finding.subject: finding.message.partition("(")[2].partition(")")[0] for finding in findings} == {
        "weights of Qwen/Qwen3-1.7B": "about 3.2 GiB",
        "weights of Qwen/Qwen3-0.6B": "about 1.1 GiB",
    }


def test_a_cached_hub_file_must_match_the_hash_in_its_name(tmp_path, monkeypatch):
    blob = tmp_path / "blobs" / ("0" * 64)
    blob.parent.mkdir()
    blob.write_bytes(b"not what it was")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kwargs: str(folder))
    findings = list(models.check_weights(plan("table2", scale="small", seeds=1).stages()))
    assert {finding.status for finding in findings} == {"fail"}
    assert "is damaged" in findings[0].message


def test_the_trial_runs_each_kind_of_stage_once_for_one_step(tmp_path):
    tried = trial.trial_study(plan_with())
    stages = trial.one_of_each(tried)
    assert {type(stage) for stage in stages} == {Calibrate, Sample, Distill, Evaluate}
    assert {stage.config.method for stage in stages if isinstance(stage, Distill)} == {"sft", "gkd-fkl", "gkd-rkl"}
    assert all(stage.config.steps == 1 for stage in stages if isinstance(stage, Distill | Calibrate))


@pytest.mark.parametrize("study", ["table2", "table6", "failure-modes", "guards"])
def test_a_trial_has_as_many_stages_as_kinds_and_the_inputs_of_these(study):
    tried = trial.trial_study(plan(study, scale="toy", seeds=1))
    stages = trial.one_of_each(tried)
    kinds = {stage.procedure for stage in tried.stages()}
    assert {stage.procedure for stage in stages} == kinds
    inputs = {needed.fingerprint for stage in stages for needed in stage.inputs()}
    last = [stage for stage in stages if stage.fingerprint not in inputs]
    assert len(last) <= len(kinds) * len(tried.families)


def test_a_trial_takes_the_largest_models():
    stages = trial.one_of_each(trial.trial_study(plan_with()))
    (evaluated,) = {stage.model.name for stage in stages if isinstance(stage, Evaluate)}
    assert evaluated == "toy:qwen3-teacher"


def test_a_machine_that_is_too_small_fails_and_nothing_is_tried(tmp_path):
    findings = list(doctor.run_checks(plan("table2", scale="small", seeds=1), tmp_path, 1))
    assert statuses(findings)["machine"] == "fail"
    assert statuses(findings)["scores and steps"] == "warn"
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_a_c_compiler_warns_where_gpus_are_used(tmp_path, monkeypatch):
    install(monkeypatch, tmp_path / "bin", card(0, "GPU-a", 24576), files=1)
    monkeypatch.setattr("repro.system.hardware._shared_memory_gib", lambda: 8.0)
    monkeypatch.setattr("repro.system.hardware._missing_build_tools", lambda: ["a C compiler (gcc or clang)"])
    monkeypatch.setattr("repro.system.hardware._torch_cuda", lambda: "12.8")
    sufficient, line = doctor._machine(plan("table2", scale="small", seeds=1))
    assert (sufficient.status, line.status) == ("ok", "warn")
    assert "a C compiler (gcc or clang) cannot be found: apt install gcc" in line.message
    (toy,) = doctor._machine(plan_with())
    assert toy.status == "ok"


def test_no_model_of_the_doctor_is_on_a_gpu_before_the_trial_has_ended(tmp_path, monkeypatch):
    """A process that has used CUDA keeps about a GiB of the card until it ends."""
    steps = []

    def try_stages(*_):
        yield doctor.good("trial", "begun")
        steps.append("trial ended")

    def check_scores(_):
        steps.append("scores")
        yield doctor.good("scores", "repeatable")

    monkeypatch.setattr(doctor, "try_stages", try_stages)
    monkeypatch.setattr(doctor, "check_scores", check_scores)
    findings = list(doctor.run_checks(plan_with(), tmp_path, 1))
    assert steps == ["trial ended", "scores"]
    assert [finding.subject for finding in findings[-2:]] == ["trial", "scores"]


def test_a_full_disk_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    assert doctor._disk(plan_with().stages(), tmp_path).status == "fail"


@pytest.mark.slow
def test_a_failing_trial_names_its_stage_and_cause(tmp_path, copy):
    def harm(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "nosuch"}))

    findings = list(trial.try_stages(plan_with(target=copy("toy:qwen3-target", harm)), tmp_path / "out", 1))
    assert findings[-1].status == "fail"
    assert "nosuch" in findings[-1].message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_all_checks_pass_at_toy_scale(tmp_path):
    findings = list(doctor.run_checks(plan_with(), tmp_path, 1))
    assert [finding for finding in findings if finding.status != "ok"] == []
    assert sum(finding.subject.startswith("one step:") for finding in findings) >= 6
    assert isinstance(findings[0], Finding)
