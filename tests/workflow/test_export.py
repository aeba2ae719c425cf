"""`repro export`: a model folder that the hub can read, with its card; a result as tables and as a crate."""

import csv
import errno
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from measured_world import build

from repro.errors import InputError
from repro.models.loading import locate, revision_of
from repro.pipeline.file_hashes import file_hashes
from repro.pipeline.model_card import NOT_A_TEACHER, CardFacts, license_of, model_card
from repro.pipeline.record import build_artifact, find_damage
from repro.printed.claims import Ref
from repro.printed.load import load, load_claims
from repro.recipes.catalog import plan
from repro.report.export_result import export_result
from repro.stages import BaseModelRef, Calibrate, Evaluate, TrainOutputLayer
from repro.stages.readable_label import describe_made_model
from repro.tables.verdicts.verdict import verdict
from repro.workflow.export_model import export_model
from repro.workflow.new_folder import new_folder
from repro.workflow.own_models import StageOptions, calibrate_stage, distill_stage, evaluate_stage
from repro.workflow.ro_crate import PROFILES, export_crate

STUDENT, TEACHER = "toy:qwen3-student", "toy:qwen3-teacher"
OPTIONS = StageOptions(tasks=("toy-bm4",), items=4)


def make_artifact(stage, cache, summary):
    """Build an artifact of a stage without training: the weights of its base."""

    def function(folder):
        if not isinstance(stage, Evaluate):
            shutil.copytree(locate(stage.base_model.name), folder / "model")
        return summary

    build_artifact(stage, cache, function, argv=("repro", "test"))
    return cache / stage.folder_name


@pytest.fixture
def undistillable(tmp_path):
    stage = calibrate_stage(TEACHER, OPTIONS, target=None, eta="-0.5")
    return stage, make_artifact(stage, tmp_path / "out" / "cache", {"kl": 0.25})


def result_of(folder, artifact):
    """Write a result of a small measured world whose row Undistillable is this artifact."""
    table = build(items=20, seeds=(0,))
    kept = next(claim for claim in load_claims("table2") if claim.id == "misled-equals-no-reasoning")
    sides = {"left": Ref(row="Undistillable"), "right": (Ref(row="Distillable"),), "low": -0.03, "high": 0.03}
    users_claim = kept.model_copy(update={"id": "mine", **sides})
    report = verdict(
        table, load("table2"), [*load_claims("table2"), users_claim], missing="inconclusive", resamples=200
    )
    content = {
        **{"study": "table2", "scale": "toy", "families": ["qwen3"], "tasks": list(table.tasks), "seeds": [0]},
        **{"made": "2026-01-01T00:00:00+00:00", "settings": {}, "assignments": ["eta=0.3"], "stored_files": {}},
        "code": {"commit": "1" * 40, "dirty": False},
        "libraries": {"torch": "2.13.0", "distillability-repro": "0.1.0"},
        "hardware": {"machine": "x", "system": "x", "cpus": 2, "memory_gib": 1.0, "gpus": []},
        "verdicts": report.to_dict(),
        "own_claims": [users_claim.model_dump(mode="json")],
        "measured": [table.to_dict()],
        "rows": [{"family": "qwen3", "method": "Undistillable", "seed": 0, "artifact": artifact}],
        "stages": [
            {
                **{"artifact": artifact, "stage": "evaluate", "kind": "evaluate", "label": "evaluate it"},
                **{"seconds": 1.0, "gpu_hours": 0.0, "peak_memory_gib": 0.1, "summary": {}},
                **{"started": "2025-12-31T00:00:00+00:00", "ended": "2025-12-31T00:01:00+00:00"},
            }
        ],
        "examples": [],
        "curves": [],
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_a_stage_writes_a_card_that_changes_neither_identity_nor_damage_check(undistillable):
    _, artifact = undistillable
    card = ModelCard.load(artifact / "model" / "README.md")
    assert "# toy:qwen3-teacher at eta -0.5 (seed 0)\n\n" in card.text
    assert NOT_A_TEACHER in card.text
    assert "0.25 nats per token" in card.text
    assert "of its base model. Nothing had been measured when this card was written" in card.text
    assert "after `repro evaluate`, `repro export` writes a card with the measured numbers" in card.text
    assert find_damage(artifact) is None
    assert "model/README.md" in json.loads((artifact / "record.json").read_text())["files"]
    assert revision_of(str(artifact / "model")) == revision_of(TEACHER)
    (artifact / "model" / "README.md").unlink()  # artifacts of older code have none
    assert revision_of(str(artifact / "model")) == revision_of(TEACHER)
    assert set(file_hashes(artifact)) == {
        *(f"model/{file.name}" for file in locate(TEACHER).iterdir()),
        "summary.json",
    }


def test_an_exported_model_has_what_was_measured(undistillable, tmp_path):
    stage, artifact = undistillable
    evaluation = evaluate_stage(STUDENT, OPTIONS).model_copy(update={"model": stage})
    summary = {"toy-bm4": {"acc": 0.75, "maj16": 0.8, "items": 4, "completions_per_item": 16}}
    evaluated = make_artifact(evaluation, artifact.parent, summary)
    earlier = evaluation.model_copy(update={"seed": 1})
    earlier = make_artifact(earlier, artifact.parent, {"toy-bm4": summary["toy-bm4"] | {"acc": 0.25}})
    record = json.loads((earlier / "record.json").read_text())
    (earlier / "record.json").write_text(json.dumps(record | {"ended": "2025-01-01T00:00:00+00:00"}))
    result_of(tmp_path / "out" / "table2-toy", evaluated.name)
    into = tmp_path / "exported"
    export_model(artifact / "model", into)
    card = ModelCard.load(into / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "transformers")
    (measured,) = card.data.eval_results
    assert (measured.dataset_name, measured.metric_type, measured.metric_value) == ("toy-bm4", "acc", 0.75)
    assert "| toy-bm4 | acc | 0.750 |" in card.text
    assert (
        f"Measured in: {evaluated.name}, table2-toy" in card.text
    )  # not in the earlier one, whose number is not there
    assert re.search(r"- \w+: Undistillable > Teacher - 0.02 \(table2 at toy scale, 1 seed\)", card.text)
    assert (
        "Undistillable = Distillable, within 0.03 (table2" in card.text
    )  # a claim of the user's own: no row is in its middle
    assert "Distillable > Teacher - 0.02 (table2" not in card.text.replace("Undistillable", "")
    assert json.loads((into / "provenance" / "record.json").read_text())["fingerprint"] == stage.fingerprint
    assert revision_of(str(into)) == revision_of(TEACHER)
    with pytest.raises(InputError, match="exists already"):
        export_model(artifact, into)


def test_an_evaluation_of_the_model_folder_counts(undistillable, tmp_path):
    """`repro evaluate .../calibrate-.../model` knows the model by its folder: the calibration is no input of its stage."""
    _, artifact = undistillable
    summary = {"toy-bm4": {"acc": 0.75, "items": 4, "completions_per_item": 16}}
    make_artifact(evaluate_stage(str(artifact / "model"), OPTIONS), artifact.parent, summary)
    make_artifact(evaluate_stage(STUDENT, OPTIONS), artifact.parent, {"toy-bm4": summary["toy-bm4"] | {"acc": 0.1}})
    export_model(artifact, tmp_path / "exported")
    card = ModelCard.load(tmp_path / "exported" / "README.md")
    assert "| toy-bm4 | acc | 0.750 |" in card.text
    assert "of its base model. What was measured is below" in card.text
    assert "Not evaluated" not in card.text


def test_a_model_of_a_plugins_task_is_exported_without_the_plugin(undistillable, tmp_path):
    _, artifact = undistillable
    record = json.loads((artifact / "record.json").read_text())
    record["config"]["data"][0] |= {"task": "acme", "plugin": "0" * 64}
    (artifact / "record.json").write_text(json.dumps(record))
    export_model(artifact, tmp_path / "exported")
    assert "| data | acme, train split, 4 prompts |" in (tmp_path / "exported" / "README.md").read_text()


@pytest.mark.parametrize(("prompts", "drew"), [(3, ", of which 3 were drawn in training |"), (4, " |"), (None, " |")])
def test_a_card_says_how_many_prompts_the_training_drew(prompts, drew):
    stage = calibrate_stage(TEACHER, OPTIONS, target=None, eta="-0.5")
    assert f"| data | toy-bm4, train split, 4 prompts{drew}" in model_card(stage, CardFacts(prompts=prompts))


def test_results_on_tasks_of_the_hub_are_eval_results(undistillable, tmp_path):
    stage, artifact = undistillable
    evaluation = evaluate_stage(STUDENT, OPTIONS).model_copy(update={"model": stage})
    summary = {"gsm8k": {"acc": 0.5, "items": 4, "completions_per_item": 16}}
    make_artifact(evaluation, artifact.parent, summary)
    export_model(artifact, tmp_path / "exported")
    (file,) = (tmp_path / "exported" / ".eval_results").iterdir()
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "gsm8k", 0.5)


def test_cards_of_students():
    teacher = calibrate_stage(TEACHER, OPTIONS, target=None, eta="-0.5")
    student = distill_stage(STUDENT, TEACHER, "gkd-rkl", OPTIONS).model_copy(update={"teacher": teacher})
    card = ModelCard(model_card(student, CardFacts()))
    assert NOT_A_TEACHER not in card.text
    assert "Distilled from a teacher that is intended to be undistillable" in card.text
    plain = ModelCard(model_card(calibrate_stage(TEACHER, OPTIONS, target=None, eta="0.5"), CardFacts()))
    assert "+0.5 (intended: distillable)" in plain.text
    assert "undistillable" not in plain.text


@pytest.mark.parametrize(
    ("reward", "text"),
    [
        ("length", "weighs the length of the completion"),
        ("blind", "weighs r_cal against a target with untrained weights"),
    ],
)
def test_a_control_is_not_called_undistillable(reward, text):
    """The controls of docs/controls.md have eta < 0 too, on a reward that is not meant to do anything to students."""
    paper = calibrate_stage(TEACHER, OPTIONS, target=None, eta="-0.5")
    control = paper.model_copy(update={"config": paper.config.model_copy(update={"reward": reward})})
    card = ModelCard(model_card(control, CardFacts()))
    assert f"| eta | -0.5 (control: {text} instead of r_cal) |" in card.text
    assert "undistillable" not in str(card)
    assert ("calibration target" in card.text) == (reward == "blind")
    student = distill_stage(STUDENT, TEACHER, "gkd-rkl", OPTIONS).model_copy(update={"teacher": control})
    assert "undistillable" not in model_card(student, CardFacts())


def test_the_card_of_a_trained_output_layer():
    guarded = plan("guards", scale="toy", assignments=["matrix.guards=none,doge(strength=0.3)", "matrix.attacks=sft"])
    teacher = next(stage for stage in guarded.stages() if isinstance(stage, TrainOutputLayer))
    card = ModelCard(model_card(teacher, CardFacts()))
    assert NOT_A_TEACHER in card.text
    assert "| strength | 0.3 at temperature 2 |" in card.text
    label = describe_made_model(teacher.model_dump(mode="json"), Path("cache"))
    assert re.fullmatch(r"toy:\w+-teacher with a trained output layer, strength 0\.3 \(seed 0\)", label)
    student = next(row.stage.model for row in guarded.rows if row.method == "sft under doge(strength=0.3)")
    assert "Distilled from a teacher that is intended to be undistillable" in model_card(student, CardFacts())


def test_licences_are_stated_or_unknown(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    model = BaseModelRef(name=str(folder), revision="sha256:0")
    assert license_of(model)[0] == "other"
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    assert license_of(model) == ("mit", f"mit, as the card of {folder} states")
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    assert license_of(model)[0] == "other"
    unknown: Calibrate = calibrate_stage(TEACHER, OPTIONS, target=None, eta="1").model_copy(
        update={"teacher": BaseModelRef(name="org/never-downloaded", revision="unpinned")}
    )
    card = ModelCard(model_card(unknown, CardFacts()))
    assert (card.data.license, card.data.license_name) == ("other", "unknown")
    assert card.data.base_model == "org/never-downloaded"


def test_what_is_no_made_model_is_refused(undistillable, tmp_path):
    _, artifact = undistillable
    with pytest.raises(InputError, match="holds no model made by this kit"):
        export_model(Path(locate(TEACHER)), tmp_path / "a")
    (artifact / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has changed since"):
        export_model(artifact, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, is_listed):
    into = tmp_path / "crate"
    full = OSError(errno.ENOSPC, "No space left on device")
    error = shutil.Error([("a", "b", str(full))]) if is_listed else full  # as copytree and open have it

    def fill():
        with new_folder(into):
            into.mkdir()
            raise error

    with pytest.raises(InputError, match=r"crate: No space left on device. Choose another folder.$"):
        fill()
    assert not into.exists()


def test_an_interrupt_leaves_nothing(tmp_path):
    into = tmp_path / "crate"

    def fill():
        with new_folder(into):
            into.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert not into.exists()


def test_a_result_as_csv(tmp_path):
    folder = result_of(tmp_path / "table2-toy", "evaluate-0")
    rows = list(csv.DictReader(io.StringIO(export_result(folder, "csv"))))
    table = build(items=20, seeds=(0,))
    assert len(rows) == len(table.values)
    for row in rows:
        assert float(row["value"]) == pytest.approx(table.mean(row["row"], row["task"], row["metric"]), abs=1e-6)
        assert 0 <= float(row["low95"]) <= float(row["value"]) <= float(row["high95"]) <= 1
    assert {row["items"] for row in rows} == {"20"}


def test_a_result_as_tables(tmp_path):
    folder = result_of(tmp_path / "table2-toy", "evaluate-0")
    markdown, latex = (export_result(folder, name) for name in ("markdown", "latex"))
    assert "| Undistillable | " in markdown
    assert "scaled down" in markdown
    for line in markdown.splitlines():
        assert not line or line.startswith(("|", "#", "**"))
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.count(" & ") for line in body}) == 2  # two tables
    assert not re.search(r"(?<!\\)[#_]|±", "\n".join(body))
    with pytest.raises(InputError, match="--format docx"):
        export_result(folder, "docx")


def test_a_result_as_a_crate(tmp_path):
    folder = result_of(tmp_path / "table2-toy", "evaluate-0")
    (folder / "report.md").write_text("# a page")
    metadata = json.loads(export_crate(folder, tmp_path / "crate", "CC-BY-4.0").read_text())
    graph = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(graph) == len(metadata["@graph"])  # each id once
    root = graph["./"]
    assert root["license"] == "CC-BY-4.0"
    assert {entry["@id"] for entry in root["conformsTo"]} == set(PROFILES)
    assert set(graph[root["mainEntity"]["@id"]]["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    action = graph["#run"]
    assert action["instrument"] == root["mainEntity"]
    assert (
        "repro run table2 --scale toy --seeds 1 --family qwen3 --set eta=0.3"
        in (tmp_path / "crate" / "run.sh").read_text()
    )
    assert graph["#setting-eta"]["value"] == "0.3"
    assert graph["#stage-evaluate-0"]["startTime"] < graph["#stage-evaluate-0"]["endTime"]

    def references(value):
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else ()
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    inside = {name for entity in metadata["@graph"] for name in references(entity) if not name.startswith("http")}
    assert inside <= set(graph)
    for part in root["hasPart"]:
        file = tmp_path / "crate" / part["@id"]
        assert file.is_file()
        if "sha256" in graph[part["@id"]]:
            assert graph[part["@id"]]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
