"""The stage whose judge a server runs: its identity, its plan, its record, and what is printed of it."""

import json
import shutil
from io import StringIO

import pytest
from chat_stand_in import ChatStandIn
from rich.console import Console

from repro.doctor.model_checks import check_servers, check_weights
from repro.errors import InputError
from repro.evaluation.graded import Graded, write_graded
from repro.generation.rollouts import Rollout
from repro.models.endpoint import API_KEY_VARIABLE
from repro.models.loading import locate
from repro.pipeline.cluster import Execution
from repro.pipeline.context import make_context
from repro.pipeline.gpu_pool import GpuPool
from repro.pipeline.record import build_artifact
from repro.pipeline.stage_functions import function_for
from repro.planner.dry_run import print_plan
from repro.planner.gpu_memory import gpu_memory
from repro.planner.hours import expected_hours
from repro.planner.resources import Resources
from repro.planner.tokens import planned_tokens
from repro.progress import silent
from repro.recipes.catalog import plan
from repro.stages import Classify, stage_adapter
from repro.stages.artifact import MODEL, ROLLOUTS
from repro.stages.pins import hub_inputs

SECRET = "correct-horse-battery"
LOCAL, REMOTE = "http://127.0.0.1:8000/v1#org/judge-7B", "https://there.example/v1#org/judge-7B"


def study_of(judge, scale="toy"):
    tasks = "toy-csqa" if scale == "toy" else "csqa"
    return plan("failure-modes", scale=scale, seeds=1, assignments=(f"judge={judge}", f"tasks={tasks}", "test_items=4"))


def classified(judge, scale="toy"):
    return next(stage for stage in study_of(judge, scale).stages() if isinstance(stage, Classify))


def test_the_name_is_identity_and_the_url_is_not():
    local, remote, rules = (classified(judge) for judge in (LOCAL, REMOTE, "none"))
    assert local.fingerprint == remote.fingerprint != rules.fingerprint
    assert classified(LOCAL.replace("7B", "8B")).fingerprint != local.fingerprint
    assert stage_adapter.validate_python(local.model_dump(mode="json")) == local


def test_it_needs_neither_the_hub_nor_a_gpu(monkeypatch):
    stage = classified(LOCAL, "small")
    assert "org/judge-7B" not in hub_inputs([stage])
    assert [model.name for model in stage.base_models()] == []
    assert (
        expected_hours(stage, "small") == expected_hours(classified("none", "small"), "small") < 0.01
    )  # not the server's
    assert planned_tokens(stage) > 0
    assert gpu_memory(stage) == gpu_memory(classified("none", "small"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("repro.pipeline.gpu_pool.installed_gpus", lambda: [{"name": "card", "memory_gib": 80.0}])
    pool = GpuPool(Execution(Resources()))
    assert pool.acquire([stage], limit=1) == [(stage, ())]
    assert pool.acquire([stage.after], limit=1) == [(stage.after, ("0",))]


@pytest.mark.parametrize("scale", ["toy", "small"])
def test_a_dry_run_lists_it_as_unpinned(scale, tmp_path):
    console = Console(file=StringIO(), width=200)
    print_plan(study_of(LOCAL, scale), tmp_path, console, Resources())
    text = console.file.getvalue()
    assert "org/judge-7B served at http://127.0.0.1:8000/v1, unpinned" in text


def test_an_address_that_would_be_recorded_is_refused_by_every_study():
    for name in ("failure-modes", "table2"):
        with pytest.raises(InputError, match=API_KEY_VARIABLE) as error:
            plan(name, scale="toy", seeds=1, assignments=(f"judge=http://me:{SECRET}@host/v1#m",))
        assert SECRET not in str(error.value)


@pytest.fixture
def server():
    stand_in = ChatStandIn(lambda number, content: f"hallucination {SECRET}")  # a server that repeats the key
    yield stand_in
    stand_in.close()


def test_the_doctor_asks_the_server(server):
    study = study_of(f"{server.url}#org/judge")
    assert [finding.status for finding in check_servers(study.stages())] == ["ok"]
    assert all("org/judge" not in finding.subject for finding in check_weights(study.stages()))
    (typo,) = check_servers(study_of(f"{server.url}#org/typo").stages())
    assert (typo.status, "It serves: org/judge, other" in typo.message) == ("fail", True)
    (unreachable,) = check_servers(study_of("http://127.0.0.1:9/v1#m").stages())
    assert (unreachable.status, "Connection refused" in unreachable.message) == ("fail", True)


def rows(answers):
    return [
        Graded(
            Rollout(f"item{n}", "toy-csqa", "who?", k, [1], [2, 3], [0.0, 0.0], f"Answer: {letter}", "eos"),
            "A",
            letter,
            float(letter == "A"),
        )
        for n, letters in enumerate(answers)
        for k, letter in enumerate(letters)
    ]


def test_the_record_names_the_model_and_not_the_key(server, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(API_KEY_VARIABLE, SECRET)
    stage = classified(f"{server.url}#org/judge")
    for evaluation, answers in ((stage.before, ["AAA", "AAA"]), (stage.after, ["BBC", "AAA"])):
        (tmp_path / evaluation.folder_name).mkdir(parents=True)
        write_graded(tmp_path / evaluation.folder_name / ROLLOUTS, [rows(answers)])
    shutil.copytree(locate("toy:qwen3-student"), tmp_path / stage.after.model.folder_name / MODEL)  # its chat template
    work = tmp_path / "work"
    work.mkdir()
    context = make_context(tmp_path, work, silent, Resources())
    summary = build_artifact(stage, tmp_path, function_for(stage, context), argv=["repro", "run"])
    assert summary["toy-csqa"]["lost"] == 1
    assert summary["toy-csqa"]["hallucination"] == 3
    assert len(server.requests) == 2  # "Answer: B" twice is one question
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"
    folder = tmp_path / stage.folder_name
    record = json.loads((folder / "record.json").read_text())
    assert "org/judge (served)" in record["unpinned"]
    assert record["identity"]["judge"] == {"kind": "served", "name": "org/judge"}
    assert record["config"]["judge"]["url"] == server.url
    for file in (*folder.rglob("*"), *work.rglob("*")):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in "".join(capfd.readouterr())
