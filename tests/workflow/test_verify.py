"""`repro verify`: an intact result agrees; a changed file, number, grade, setting or verdict does not."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from repro.models.loading import revision_of
from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages import Evaluate
from repro.toy.models import model_folder
from repro.workflow.study import run_study
from repro.workflow.verify import verify_chain, verify_result
from repro.workflow.verify_artifact import Counts, is_close, verify_artifact

SETTINGS = ["test_items=6", "evaluation.batch_sequences=96", "tasks=toy-bm4", "evaluation.completions_per_prompt=4"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    study = plan("table2", scale="toy", seeds=1, assignments=SETTINGS)
    two_rows = replace(study, rows=tuple(row for row in study.rows if row.method in {"Teacher", "Student"}))
    out = tmp_path_factory.mktemp("study")
    execution = Execution(Resources(), workers=1, backend="none")
    return run_study(two_rows, out, execution, quiet=True, console=Console(quiet=True), name="mine").folder


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original.parent, tmp_path / "out", copy_function=shutil.copy2)
    return tmp_path / "out" / "mine"


@pytest.fixture
def artifact(folder):
    return next(iter(sorted((folder.parent / "cache").glob("evaluate-*"))))


def bad(folder):
    """Return the subjects and messages of what does not agree, without the count of artifacts."""
    findings = [f for f in verify_result(folder, None, Counts()) if f.status == "bad" and f.subject != "artifacts"]
    return [f"{f.subject}: {f.message}" for f in findings]


def edit(file, change):
    """Apply a change to a JSON file; return the sha256 of what it becomes."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def hide(folder, artifact, *names):
    """Write the hashes of changed files into the record, and the record's into the result."""

    def update(record):
        for name in names:
            data = (artifact / name).read_bytes()
            record["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    sha256 = edit(artifact / "record.json", update)

    def store(content):
        next(line for line in content["stages"] if line["artifact"] == artifact.name)["record_sha256"] = sha256

    edit(folder / "results.json", store)


def test_an_intact_result_agrees(folder):
    counts = Counts()
    findings = list(verify_result(folder, None, counts))
    assert [f for f in findings if f.status != "ok"] == []
    assert {f.subject for f in findings} == {"artifacts", "numbers", "verdicts"}
    assert counts.graded == 2 * 6 * 4
    assert counts.files == 4


@pytest.mark.parametrize("name", ["rollouts.parquet", "summary.json"])
def test_a_changed_file(folder, artifact, name):
    data = bytearray((artifact / name).read_bytes())
    data[len(data) // 2] ^= 1
    (artifact / name).write_bytes(data)
    assert any(f"{name} has changed" in line for line in bad(folder))


def test_a_file_that_is_missing_or_new(folder, artifact):
    (artifact / "summary.json").rename(artifact / "other.json")
    lines = bad(folder)
    assert f"{artifact.name}: summary.json is missing" in lines
    assert f"{artifact.name}: other.json is not listed in record.json" in lines


def test_a_changed_record(folder, artifact):
    edit(artifact / "record.json", lambda record: record.update(seconds=1.0))
    assert bad(folder) == [f"{artifact.name}: record.json differs from the one that the result was made from"]


def test_a_count_with_a_damaged_artifact_is_not_good(folder, artifact):
    edit(artifact / "record.json", lambda record: record.update(seconds=1.0))
    count = next(f for f in verify_result(folder, None, Counts()) if f.subject == "artifacts" and "byte" in f.message)
    assert count.status == "bad"


def test_a_changed_setting_of_a_stage(folder, artifact):
    edit(artifact / "record.json", lambda record: record["identity"]["config"].update(temperature=0.5))
    hide(folder, artifact)
    assert f"{artifact.name}: its settings do not match its fingerprint" in bad(folder)


def test_a_changed_grade_whose_hashes_were_changed_too(folder, artifact):
    table = pq.read_table(artifact / "rollouts.parquet")
    scores = table.column("score").to_pylist()
    scores[0] = 1.0 - scores[0]
    index = table.schema.get_field_index("score")
    pq.write_table(table.set_column(index, "score", pa.array(scores)), artifact / "rollouts.parquet")
    hide(folder, artifact, "rollouts.parquet")
    assert any("1 completions have a stored grade that their text does not give" in line for line in bad(folder))


def test_a_changed_summary_whose_hashes_were_changed_too(folder, artifact):
    def raise_accuracy(summary):
        summary["toy-bm4"]["acc"] = 0.875

    edit(artifact / "summary.json", raise_accuracy)
    hide(folder, artifact, "summary.json")
    lines = bad(folder)
    assert any("summary.json has acc 0.875 of toy-bm4, its completions" in line for line in lines)
    assert f"{artifact.name}: its summary differs from the result's" in lines


def test_a_changed_number(folder):
    def change(content):
        cell = next(cell for cell in content["measured"][0]["cells"] if cell["metric"] == "acc")
        cell["values"][0][0] = 0.3125

    edit(folder / "results.json", change)
    assert any("1 cells differ from what their artifacts give" in line for line in bad(folder))


def test_a_result_is_named_by_its_file_too(folder):
    counts = Counts()
    findings = list(verify_result(folder / "results.json", None, counts))
    assert {finding.status for finding in findings} == {"ok"}
    assert counts.graded > 0


def test_a_family_that_was_removed(folder):
    edit(folder / "results.json", lambda content: content["measured"].append(content["measured"][0] | {"family": "x"}))
    assert bad(folder)[0] == "numbers: its measured families are qwen3, x, but its rows are of qwen3"


def test_a_changed_verdict(folder):
    def change(content):
        content["verdicts"]["claims"][0]["value"] = "contradicted"

    edit(folder / "results.json", change)
    (line,) = bad(folder)
    assert line.startswith("verdicts: 1 of ")
    edit(folder / "results.json", lambda content: content["stored_files"].update({"claims.toml": "0" * 64}))
    assert bad(folder) == []  # other claims may give other verdicts: a note


def test_what_is_not_there_is_a_note(folder, artifact):
    shutil.rmtree(artifact)
    findings = [(f.status, f.subject) for f in verify_result(folder, None, Counts())]
    assert ("note", "artifacts") in findings
    assert ("note", "numbers") in findings
    assert "bad" not in {status for status, _ in findings}


def test_an_artifact_of_another_name(folder, artifact):
    other = artifact.with_name("evaluate-0123456789abcdef")
    artifact.rename(other)
    text = (folder / "results.json").read_text().replace(artifact.name, other.name)
    (folder / "results.json").write_text(text)
    assert any("does not match its fingerprint" in line for line in bad(folder))


def test_stages_are_read_back_from_records(original):
    from repro.workflow.verify import _rebuild

    content = json.loads((original / "results.json").read_text())
    study = _rebuild(content, original.parent / "cache")
    for row, line in zip(study.rows, content["rows"], strict=True):
        assert isinstance(row.stage, Evaluate)
        assert row.stage.folder_name == line["artifact"]
        again = type(row.stage).model_validate(row.stage.model_dump())  # its fingerprint is computed, not copied
        assert again.folder_name == line["artifact"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": [1.0, 2]}, {"a": [1.0 + 1e-12, 2]}, True),
        ({"a": [1.0, 2]}, {"a": [1.0 + 1e-6, 2]}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1.0], [1.0, 1.0], False),
        (1.0, "1.0", False),
        (None, None, True),
        (None, 0.0, False),
    ],
)
def test_numbers_are_equal_up_to_the_order_of_summation(first, second, same):
    assert is_close(first, second) is same


@pytest.mark.parametrize("has_guards", [True, False], ids=["of today", "of older code"])
def test_rows_of_a_matrix_are_read_back_with_their_guards(original, has_guards):
    """Without them no gain per query could be measured again. Results of older code have them in the sides of the matrix."""
    from repro.workflow.verify import _rebuild

    content = json.loads((original / "results.json").read_text())
    labels = {"Teacher under knob": "knob", "sft under knob": "knob"}
    for line, (label, guard) in zip(content["rows"], labels.items(), strict=True):
        line |= {"method": label, **({"guard": guard} if has_guards else {})}
    side = {"formula": "", "source": "", "shows_or_needs": "text"}
    content["extras"] = {"matrix": {"guards": [{"label": "knob", **side}], "attacks": [{"label": "sft", **side}]}}
    study = _rebuild(content, original.parent / "cache")
    assert {row.method: row.guard for row in study.rows} == labels


def test_a_cell_that_was_removed_is_noted(folder):
    edit(folder / "results.json", lambda content: content["measured"][0]["cells"].pop())
    findings = [f.message for f in verify_result(folder, None, Counts()) if f.status == "note"]
    assert any(text.startswith("1 cells that the artifacts give are not in the result") for text in findings)


def test_graded_completions_of_a_guarded_teacher_are_graded_again(artifact):
    edit(artifact / "record.json", lambda record: record.update(stage="grade"))
    counts = Counts()
    list(verify_artifact(artifact, None, counts))
    assert counts.graded == 6 * 4


def store_artifact(cache, stage, config, inputs=(), model=None):
    """Store an artifact of that stage, with a model where one is given; return its folder."""
    identity = {"does": stage, "version": 1, "config": config}
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    folder = cache / f"{stage}-{fingerprint[:16]}"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{}")
    if model is not None:
        shutil.copytree(model, folder / "model")
    files = {
        str(file.relative_to(folder)): {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in folder.rglob("*")
        if file.is_file()
    }
    record = {"stage": stage, "version": 1, "identity": {"config": config}, "config": {"kind": stage, **config}}
    record |= {"fingerprint": fingerprint, "inputs": [artifact.name for artifact in inputs], "files": files}
    (folder / "record.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def chain(tmp_path):
    """A sample of a model, a student trained on it, and what was sampled from that student."""
    base = {"kind": "base", "name": "toy:qwen3-teacher", "revision": revision_of("toy:qwen3-teacher")}
    traces = store_artifact(tmp_path, "sample", {"model": base})
    student = store_artifact(tmp_path, "distill", {"teacher": base}, [traces], model_folder("toy:qwen3-student"))
    weights = str(student / "model")
    model = {"kind": "base", "name": f"elsewhere/{student.name}/model", "revision": revision_of(weights)}
    return traces, student, store_artifact(tmp_path, "sample", {"model": model})


def of_chain(folder, status="bad"):
    """Return the subjects and messages of findings with a status, without the count of artifacts that are not intact."""
    findings = [f for f in verify_chain(folder, Counts()) if f.status == status]
    return [(f.subject, f.message) for f in findings if (f.status, f.subject) != ("bad", "artifacts")]


def test_an_artifact_is_verified_with_all_that_it_was_made_from(chain):
    traces, student, last = chain
    counts = Counts()
    (finding,) = verify_chain(last, counts)
    assert (finding.status, finding.message) == ("ok", "3 of 3 agree with their records, byte for byte")
    assert counts.files == 3 + len(list((student / "model").iterdir()))
    (traces / "summary.json").write_text("{ }")
    assert of_chain(last) == [(traces.name, "summary.json has changed since it was written")]


def test_weights_that_were_replaced_with_their_record(chain):
    _, student, last = chain
    config = student / "model" / "config.json"
    config.write_text(config.read_text() + "\n")
    sha256 = hashlib.sha256(config.read_bytes()).hexdigest()
    edit(student / "record.json", lambda record: record["files"]["model/config.json"].update(sha256=sha256))
    assert of_chain(student) == []
    assert of_chain(last) == [
        (last.name, f"the model in {student / 'model'} differs from the one that the artifact was made from")
    ]


def test_an_artifact_behind_it_that_is_gone(chain):
    traces, student, last = chain
    shutil.rmtree(traces)
    assert of_chain(last) == []
    assert of_chain(last, "note") == [("artifacts", f"1 of 3 are missing ({traces}): not verified")]
    shutil.rmtree(student)
    assert of_chain(last, "note") == [
        (last.name, f"the model elsewhere/{student.name}/model is missing: not compared"),
        ("artifacts", f"1 of 2 are missing ({student}): not verified"),
    ]


def test_a_revision_that_was_changed_beside_the_identity(chain):
    _, student, last = chain
    edit(last / "record.json", lambda record: record["config"]["model"].update(revision="sha256:other"))
    name = f"elsewhere/{student.name}/model"
    assert of_chain(last) == [(last.name, f"its settings and its identity name different revisions of {name}")]


def test_a_local_model_that_is_no_artifact(tmp_path):
    weights = shutil.copytree(model_folder("toy:qwen3-student"), tmp_path / "mine")
    model = {"kind": "base", "name": str(weights), "revision": revision_of(str(weights))}
    sample = store_artifact(tmp_path / "cache", "sample", {"model": model})
    assert of_chain(sample) == of_chain(sample, "note") == []
    (weights / "config.json").write_text((weights / "config.json").read_text() + "\n")
    assert of_chain(sample) == [
        (sample.name, f"the model in {weights} differs from the one that the artifact was made from")
    ]
    shutil.rmtree(weights)
    assert of_chain(sample, "note") == [(sample.name, f"the model {weights} is missing: not compared")]


def test_a_model_of_the_hub_is_not_compared_with_a_folder_of_its_name(tmp_path, monkeypatch):
    shutil.copytree(model_folder("toy:qwen3-student"), tmp_path / "org" / "tiny")
    monkeypatch.chdir(tmp_path)
    model = {"kind": "base", "name": "org/tiny", "revision": "0123456789abcdef"}
    sample = store_artifact(tmp_path / "cache", "sample", {"model": model})
    assert [finding.status for finding in verify_chain(sample, Counts())] == ["ok"]


def test_a_long_chain_is_verified_to_its_beginning_wherever_it_is_called_from(tmp_path, monkeypatch):
    chain = [store_artifact(tmp_path, "sample", {"seed": 0})]
    for seed in range(1, 12):
        chain.append(store_artifact(tmp_path, "sample", {"seed": seed}, [chain[0], chain[-1]]))
    monkeypatch.chdir(chain[-1])
    (finding,) = verify_chain(Path(), Counts())
    assert finding.message == "12 of 12 agree with their records, byte for byte"


def test_a_record_without_settings_is_bad_and_no_traceback(chain):
    *_, last = chain
    edit(last / "record.json", lambda record: record.update(inputs=None) or record.pop("config"))
    assert [finding.status for finding in verify_chain(last, Counts())] == ["bad", "bad"]
