"""The workflows as data: least permissions, time limits, no fork code on the GPU, no way into paper_tables."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {file.stem: file for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
WORKFLOWS = {name: yaml.safe_load(file.read_text()) for name, file in FILES.items()}
JOBS = [(name, job) for name, content in WORKFLOWS.items() for job in content["jobs"]]
MAY_WRITE = {("ci", "publish"), ("gpu", "history"), ("reproduce", "propose"), ("reproduce", "continue")}


def test_the_three_are_there():
    assert set(FILES) == {"ci", "gpu", "reproduce"}


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_least_permissions_and_a_time_limit(name, job):
    content = WORKFLOWS[name]["jobs"][job]
    assert WORKFLOWS[name]["permissions"] == {}
    assert content["timeout-minutes"] > 0
    writes = [what for what, level in content["permissions"].items() if level == "write"]
    assert not writes or (name, job) in MAY_WRITE
    assert not (writes and "self-hosted" in content["runs-on"])


def test_a_skipped_run_cancels_no_waiting_one():
    """Any label starts the workflow `gpu`. A workflow's group is entered before its jobs' conditions are looked at."""
    groups = {name: content["concurrency"]["group"] for name, content in WORKFLOWS.items() if "concurrency" in content}
    assert set(groups) == {"ci", "reproduce"}
    assert WORKFLOWS["gpu"]["jobs"]["gpu"]["concurrency"] == {"group": "gpu", "cancel-in-progress": False}


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


def test_the_token_of_the_hub_reaches_the_container_and_no_command_line():
    steps = WORKFLOWS["reproduce"]["jobs"]["run"]["steps"]
    (step,) = (step for step in steps if step.get("id") == "run")
    assert step["env"]["HF_TOKEN"] == "${{ secrets.HF_TOKEN }}"
    assert " -e HF_TOKEN " in step["run"]
    assert "$HF_TOKEN" not in step["run"]
    assert "-e HF_TOKEN" in (ROOT / "docs" / "operating.md").read_text()
    assert "-e HF_TOKEN" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(("data", "folder"), [("data", "home/data"), ("{tmp}/shared", "shared")])
def test_results_are_kept_outside_the_workspace(tmp_path, data, folder):
    """The nightly workflow's checkout on the same runner removes what is in the workspace and not in git."""
    steps = WORKFLOWS["reproduce"]["jobs"]["run"]["steps"]
    (step,) = (step for step in steps if step.get("id") == "check")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    env |= {"IMAGE": "ghcr.io/a/b@sha256:" + "0" * 64, "REPOSITORY": "A/b", "TABLE": "table2", "CONTINUATION": "0"}
    env |= {"DATA": data.format(tmp=tmp_path)}
    subprocess.run(["bash", "-e", "-c", step["run"]], env=env, cwd=tmp_path, check=True)
    assert (tmp_path / "output").read_text() == f"data={tmp_path / folder}\n"
    (run,) = (step for step in steps if step.get("id") == "run")
    (upload,) = (step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert run["env"]["DATA"] == "${{ steps.check.outputs.data }}"
    assert {line.split("/results/")[0] for line in upload["with"]["path"].split("\n") if line} == {run["env"]["DATA"]}


@pytest.fixture
def reproduce(tmp_path):
    """Run the script of reproduce.yml's main step with a stand-in for docker; return exit code and outputs."""
    (step,) = (step for step in WORKFLOWS["reproduce"]["jobs"]["run"]["steps"] if step.get("id") == "run")

    def call(docker, continuation="0", hours="1"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        script = tmp_path / "bin" / "docker"
        script.write_text(f'#!/bin/bash\necho "$@" >>"{tmp_path}/calls"\n[ "$1" = run ] || exit 0\n{docker}\n')
        script.chmod(0o755)
        output = tmp_path / "output"
        output.write_text("")
        env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "GITHUB_OUTPUT": str(output), "RUNNER_TEMP": str(tmp_path)}
        env |= {"TABLE": "table2", "SCALE": "paper", "IMAGE": "i@sha256:0", "DATA": str(tmp_path / "data")}
        env |= {"TOKEN": "t", "ACTOR": "a", "HF_TOKEN": "hf_secret", "CONTINUATION": continuation}
        run = step["run"].replace('"${HOURS}h"', hours)
        done = subprocess.run(["bash", "-e", "-c", run], env=env, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, output.read_text(), (tmp_path / "calls").read_text()

    return call


def test_a_run_starts_with_its_scale_confirmed_and_ends_with_its_verdict(reproduce):
    code, output, calls = reproduce("exit 1")
    assert (code, output) == (0, "")
    assert "repro run table2 --scale paper --yes" in calls
    assert "hf_secret" not in calls
    assert reproduce("exit 3")[0] == 1


def test_a_cancelled_run_leaves_no_container(reproduce):
    """The runner ends docker's command, not the container. What Triton and torch compile is loaded from /tmp."""
    _, _, calls = reproduce("exit 0")
    steps = WORKFLOWS["reproduce"]["jobs"]["run"]["steps"]
    (stop,) = (step for step in steps if "docker stop" in step.get("run", ""))
    name = '"repro-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT"'
    assert stop["if"] == "always()"
    assert name in stop["run"]
    assert f"--name {name}" in next(step["run"] for step in steps if step.get("id") == "run")
    assert "--tmpfs /tmp:exec " in calls


@pytest.mark.load_sensitive
def test_a_run_out_of_time_continues_where_its_results_are(reproduce, tmp_path):
    """The container gets SIGTERM and time to stop; the next run refuses a runner without the results."""
    stops = f'trap "touch {tmp_path}/stopped; exit 130" TERM; mkdir -p {tmp_path}/data/results/cache; sleep 30 & wait'
    assert reproduce("exit 0", continuation="1")[0] == 2
    code, output, _ = reproduce(stops, hours="3s")
    assert (code, output) == (0, "unfinished=true\n")
    assert (tmp_path / "stopped").exists()
    assert reproduce("exit 0", continuation="1")[:2] == (0, "")
    jobs = WORKFLOWS["reproduce"]["jobs"]
    assert jobs["propose"]["if"] == "needs.run.outputs.unfinished != 'true'"
    assert jobs["continue"]["if"] == "needs.run.outputs.unfinished == 'true'"
