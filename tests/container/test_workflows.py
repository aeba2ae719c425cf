"""The workflows as data: least permissions, time limits, no fork code on the GPU, no way into paper_tables."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {file.stem: file for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
WORKFLOWS = {name: yaml.safe_load(file.read_text()) for name, file in FILES.items()}
JOBS = [(name, job) for name, content in WORKFLOWS.items() for job in content["jobs"]]
MAY_WRITE = {("ci", "publish"), ("gpu", "history"), ("reproduce", "propose")}


def test_the_three_are_there():
    assert set(FILES) == {"ci", "gpu", "reproduce"}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_least_permissions_and_a_time_limit(name, job):
    content = WORKFLOWS[name]["jobs"][job]
    assert WORKFLOWS[name]["permissions"] == {}
    assert "concurrency" in WORKFLOWS[name]
    assert content["timeout-minutes"] > 0
    writes = [what for what, level in content["permissions"].items() if level == "write"]
    assert not writes or (name, job) in MAY_WRITE
    assert not (writes and "self-hosted" in content["runs-on"])


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_no_event_text_inside_a_script_and_no_credentials_left(name, job):
    for step in WORKFLOWS[name]["jobs"][job]["steps"]:
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", FILES)
def test_actions_are_exact(name):
    for action, ref in re.findall(r"uses: (\S+)@(\S+)", FILES[name].read_text()):
        assert re.fullmatch(r"v\d+\.\d+\.\d+|[0-9a-f]{40}", ref), action


def test_no_fork_code_on_a_gpu():
    triggers = WORKFLOWS["gpu"][True]  # YAML reads the key `on` as true
    assert triggers["pull_request"] == {"types": ["labeled"]}
    condition = WORKFLOWS["gpu"]["jobs"]["gpu"]["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in condition
    assert set(WORKFLOWS["reproduce"][True]) == {"workflow_dispatch"}
    for name, content in WORKFLOWS.items():
        hosts_gpu = any("self-hosted" in job["runs-on"] for job in content["jobs"].values())
        assert hosts_gpu == (name in {"gpu", "reproduce"})
        assert "pull_request_target" not in content[True]


def test_results_are_proposed_in_one_folder_of_their_own():
    text = FILES["reproduce"].read_text()
    assert "paper_tables" not in text
    assert 'git add "$folder"' in text
    assert re.findall(r"git add (\S+)", text) == ['"$folder"']
    assert 'folder="benchmarks/results/' in text
