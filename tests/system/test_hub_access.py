"""What the hub refuses is said with whose licence to accept and where the token goes; without a hub, at once."""

import os
import subprocess
import sys
from functools import partial

import httpx2
import pytest
from hub_stand_in import ABSENT, GATED, TOKEN, hub
from huggingface_hub import constants

from repro.doctor.hub_checks import check_access, offline
from repro.errors import InputError
from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.stages.pins import hub_inputs
from repro.system.hub_access import ask_access
from repro.workflow.study import run_study

FREE = "Qwen/Qwen3-0.6B"


@pytest.fixture
def online(monkeypatch, tmp_path):
    """The stand-in is the hub, with an empty cache and no token; yields the paths that it was asked for."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub() as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield asked


def problems(*names):
    return {name: access.problem for name, access in ask_access(dict.fromkeys(names, "models")).items()}


def test_a_gated_model_names_the_licence_and_the_place_of_the_token(online, monkeypatch):
    found = problems(GATED, FREE, ABSENT)
    assert found[FREE] is None
    for text in (
        "gated: accept google's licence",
        f"/{GATED}",
        "HF_TOKEN",
        "docker run -e HF_TOKEN",
        "secrets.HF_TOKEN",
    ):
        assert text in found[GATED]
    assert found[ABSENT].startswith("not on the hub, or private: check the id")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert problems(GATED, FREE) == {GATED: None, FREE: None}
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "the hub refuses the token in use" in problems(FREE)[FREE]


def test_the_doctor_asks_once_for_each_id_reward_model_included(online):
    stages = plan("table2", scale="paper", families=("all",), seeds=1).stages()
    findings = list(check_access(stages))
    ids = {name: kind for name, kind in hub_inputs(stages).items() if kind != "github"}
    assert any("Reward" in name for name in ids)
    assert sorted(online) == sorted(f"/api/{kind}/{name}/auth-check" for name, kind in ids.items())
    assert {finding.subject for finding in findings} == {f"access to {name}" for name in ids}
    assert {finding.subject for finding in findings if finding.status == "fail"} == {f"access to {GATED}"}


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise httpx2.ConnectError("refused")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(httpx2, "get", refuse)
    stages = plan("table2", scale="paper", seeds=1).stages()
    (finding,) = check_access(stages)
    assert len(asked) == 1
    assert (finding.status, finding.subject) == ("warn", "hub")
    assert "does not answer" in finding.message


def test_nothing_is_asked_offline_or_of_toy_models(online, monkeypatch):
    assert list(check_access(plan("table2", scale="toy", seeds=1).stages())) == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (finding,) = check_access(plan("table2", scale="paper", seeds=1).stages())
    assert "HF_HUB_OFFLINE" in finding.message
    assert online == []


def test_offline_lasts_as_long_as_the_checks(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with offline():
        assert constants.is_offline_mode()
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert not constants.is_offline_mode()
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_study_is_refused_before_its_data_are_read(online, tmp_path, monkeypatch):
    """Reading rows without a network takes minutes of retries, and the reward model is first read late in a stage."""
    monkeypatch.setattr("repro.workflow.study.check_contamination", lambda _: pytest.fail("data are read"))
    study = plan("controls", scale="small", seeds=1)
    assert GATED in hub_inputs(study.stages())
    start = partial(run_study, study, tmp_path / "out", Execution(Resources()), console=None, quiet=True)
    with pytest.raises(InputError, match=f"model {GATED}: gated: accept google's licence"):
        start()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"not in the local cache, and http://127\.0\.0\.1:9 does"):
        start()
    assert not (tmp_path / "out").exists()


LOAD = """
import sys
from repro.errors import InputError
from repro.models.loading import load_tokenizer
from repro.tasks.hub import HubSource, fetch
for read in (lambda: load_tokenizer(sys.argv[1]), lambda: fetch(HubSource(sys.argv[1], "train", "test"), "train", "unpinned", "")):
    try:
        read()
    except InputError as error:
        print(error)
"""


@pytest.mark.processes
def test_what_a_client_library_is_refused_is_said_in_the_same_words(tmp_path):
    """A process of its own: transformers and datasets read the address of the hub when they are imported."""
    with hub() as (address, _):
        env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        env |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", LOAD, GATED]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    model, data = done.stdout.splitlines()
    assert model.startswith(f"model {GATED}: gated: accept google's licence at {address}/{GATED}")
    assert data.startswith(f"data set {GATED}: gated: accept google's licence at {address}/datasets/{GATED}")
    assert "HF_TOKEN" in model
    assert "--data FILE" in data
