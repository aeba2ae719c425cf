"""SIGKILL at random moments: the final numbers are those of an undisturbed run, and no artifact is incomplete."""

import contextlib
import os
import random
import shutil
import signal
import time

import psutil
import pytest
from faults_kit import check_artifacts, count, measured, study_arguments

KILLS = count("KILLS", 100)


@pytest.mark.timeout(7200)
def test_killed_at_random_moments(forge, undisturbed, tmp_path):
    """Studies are killed and resumed until each is done, in one process, so that not only imports are killed."""
    rng = random.Random(8)
    length = float((undisturbed / "seconds").read_text())
    kills, studies, out = 0, 0, tmp_path / "0"
    while kills < KILLS:
        driver = forge.start(study_arguments(out))
        deadline = time.monotonic() + rng.uniform(0, length / 2)
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        if driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
        if driver.wait() == -signal.SIGKILL:  # else it had just ended
            kills += 1
            if (out / "cache").exists():
                check_artifacts(out)
            continue
        assert driver.code in (0, 1), driver.text()
        assert check_artifacts(out) == 17
        assert measured(out) == measured(undisturbed)
        shutil.rmtree(out)
        studies += 1
        out = tmp_path / str(studies)
    code, text = forge.run(study_arguments(out))
    assert code in (0, 1), text
    assert check_artifacts(out) == 17
    assert measured(out) == measured(undisturbed)
    print(f"{kills} kills over {studies + 1} studies of {length:.1f} s")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("victim", ["driver", "stage", "server", "all"])
def test_killed_where_stages_run_in_subprocesses(forge, undisturbed, tmp_path, victim):
    """The driver, its stage, the server that forks its stages, or all are killed at five random moments of a stage's life."""
    rng = random.Random(victim)
    shutil.copytree(undisturbed / "cache", tmp_path / "cache")
    kills = 0
    while kills < 5:
        if (tmp_path / "table2-toy").exists() or not kills:  # it was done: run two stages again
            shutil.rmtree(tmp_path / "table2-toy", ignore_errors=True)
            sampled, graded = (sorted((tmp_path / "cache").glob(f"{kind}-*"))[0] for kind in ("sample", "evaluate"))
            shutil.rmtree(sampled)
            shutil.rmtree(graded)
        driver = forge.start(study_arguments(tmp_path, backend="local"))
        while driver.poll() is None and not stages_of(driver.pid):
            time.sleep(0.01)
        deadline = time.monotonic() + rng.uniform(0, 1)
        while driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        processes = children_of(driver.pid)
        stages = stages_of(driver.pid)
        servers = [process for process in processes if process not in stages]
        victims = {"stage": stages, "server": servers, "all": [*stages, *servers]}.get(victim, [])
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if victim in ("driver", "all") and driver.poll() is None:
            os.kill(driver.pid, signal.SIGKILL)
        code = driver.wait()
        assert code in ((3, 0, 1) if victim in ("stage", "server") else (-signal.SIGKILL, 0, 1)), driver.text()
        assert "Traceback" not in driver.text()
        kills += code in (3, -signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, timeout=300)
        assert not alive
        check_artifacts(tmp_path)
        if code in (0, 1):
            assert measured(tmp_path) == measured(undisturbed)
    code, text = forge.run(study_arguments(tmp_path))
    assert code in (0, 1), text
    assert measured(tmp_path) == measured(undisturbed)


def children_of(pid: int) -> list[psutil.Process]:
    """Return the processes below a process; none if it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def stages_of(driver: int) -> list[psutil.Process]:
    """Return the processes below the driver's server, which it forks stages from, and below those."""
    stages = []
    for process in children_of(driver):
        with contextlib.suppress(psutil.NoSuchProcess):
            stages += [process] if process.ppid() != driver else []
    return stages
