"""Training that samples from a real vLLM server: weights arrive after every step, seeds decide, nothing is left running."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from calibration.test_trainer import lines, run
from tiny_models import save_qwen

from repro.distillation.config import DistillationConfig
from repro.distillation.distill import distill
from repro.generation.server import LOG, ServerPlacement, vllm_server
from repro.generation.watchdog import EXIT_CODE
from repro.progress import silent
from repro.tasks import Item
from repro.training.resources import TrainingResources

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.gpu,
    pytest.mark.gpus(2),  # NCCL sends weights from one GPU to another
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (extra cpu or gpu)"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Teacher and student with heads of a size that vLLM's CPU attention supports."""
    folder = tmp_path_factory.mktemp("wide")
    return save_qwen(folder / "teacher", hidden=64, seed=1), save_qwen(folder / "student", hidden=64, seed=2)


def servers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("repro.generation.serve" in word for word in child.cmdline())]


def test_calibration_samples_from_the_weights_of_each_step(
    tmp_path: Path, models: tuple[Path, Path], items: list[Item], server: ServerPlacement
) -> None:
    changes = {"steps": 4, "learning_rate": 5e-2, "engine": "vllm", "kl_beta": 0.001}
    run(tmp_path, *models, items, server=server, **changes)
    rows = lines(tmp_path / "out")
    assert rows[-1]["kl"] > 0.05  # far from where it started, so stale weights would show
    for row in rows:
        assert row["vllm_log_prob_gap"] < 0.05  # vLLM serves bfloat16
        assert row["vllm_importance_ratio"] == pytest.approx(1, abs=0.05)
    assert servers() == []
    assert not list((tmp_path / "work").glob("*.safetensors"))


def test_the_seed_decides_the_samples_and_a_resumed_run_repeats_them(
    tmp_path: Path, models: tuple[Path, Path], items: list[Item], server: ServerPlacement
) -> None:
    teacher, student = models
    samples: list[list[str]] = []

    class StoppedError(Exception):
        pass

    def train(work: str, seed: int, stop_after: int = 100) -> list[str]:
        texts: list[str] = []

        def reward(items: list[Item], new: list[str]) -> list[float]:
            if len(texts) == stop_after:
                raise StoppedError
            texts.extend(new)
            return [1.0] * len(new)

        settings: dict[str, Any] = {"method": "gkd-rkl", "steps": 4, "sequences_per_step": 8, "learning_rate": 1e-2}
        settings |= {"warmup_fraction": 0.0, "max_completion_tokens": 12, "traces": "full", "engine": "vllm"}
        with contextlib.suppress(StoppedError):
            distill(
                DistillationConfig.model_validate(settings),
                student=student,
                teacher=teacher,
                items=items,
                completions=None,
                task_reward=reward,
                seed=seed,
                out=tmp_path / f"out-{work}",
                work=tmp_path / f"work-{work}",
                progress=silent,
                resources=TrainingResources(checkpoint_every=2, server=server),
            )
        return texts

    samples = [train("a", 0), train("b", 0, stop_after=24), train("b", 0), train("c", 1)]
    assert len(samples[0]) == 32
    assert samples[0][:24] == samples[1]
    assert samples[0][16:] == samples[2]  # from the checkpoint after two steps
    assert samples[0] != samples[3]
    assert len(set(samples[0])) > 8


def test_a_model_that_cannot_be_served_is_an_error(
    tmp_path: Path, models: tuple[Path, Path], server: ServerPlacement
) -> None:
    with (
        pytest.raises(RuntimeError, match=r"did not start: .*max_model_len \(100000\) is greater"),
        vllm_server(models[0], 100_000, server, tmp_path),
    ):
        pass
    assert servers() == []


STAGE = """
import sys, time
from pathlib import Path
from repro.generation.server import ServerPlacement, vllm_server
from repro.training.resources import TrainingResources
if __name__ == "__main__":
    with vllm_server(Path(sys.argv[1]), 64, ServerPlacement(1, tuple(sys.argv[3:])), Path(sys.argv[2])):
        print("up", flush=True)
        time.sleep(120)
"""


@pytest.mark.parametrize("killed", ["the engine", "the server", "the stage"])
def test_neither_outlives_the_other(
    tmp_path: Path, models: tuple[Path, Path], killed: str, server: ServerPlacement
) -> None:
    command = [sys.executable, "-c", STAGE, str(models[0]), str(tmp_path), *server.gpus]
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert stage.stdout is not None
    assert stage.stdout.readline() == "up\n", (tmp_path / LOG).read_text()
    children = psutil.Process(stage.pid).children(recursive=True)
    engine = next(child for child in children if "VLLM::EngineCore" in " ".join(child.cmdline()))
    serving = next(child for child in children if "repro.generation.serve" in child.cmdline())
    {"the engine": engine, "the server": serving, "the stage": psutil.Process(stage.pid)}[killed].kill()
    assert stage.wait(60) == (-signal.SIGKILL if killed == "the stage" else EXIT_CODE)
    deadline = time.monotonic() + 60
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, children
        time.sleep(0.5)
    stage.stdout.close()


@pytest.mark.slow
@pytest.mark.gpus(3)
@pytest.mark.parametrize("method", ["calibrate", "gkd-rkl"])
def test_two_sharded_ranks_share_one_server(
    tmp_path: Path, models: tuple[Path, Path], method: str, server: ServerPlacement
) -> None:
    """The first rank starts it and sends it the weights that all ranks gather."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(Path(__file__).with_name("vllm_ranks.py")), str(tmp_path), str(models[0].parent), method]
    ended = subprocess.run(
        [*command, "shard", "server", *server.gpus],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        timeout=800,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    rows = lines(tmp_path / "out")
    assert len(rows) == 3
    assert all(row["vllm_log_prob_gap"] < 0.05 for row in rows)
