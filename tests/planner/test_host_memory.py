"""Host memory: the estimate, the advice where a machine is too small, and the limit of a control group."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from repro.planner.fit import unplaceable
from repro.planner.gpu_memory import GIB
from repro.planner.host_memory import SAMPLED_TOKEN_BYTES, STEP_TOKEN_BYTES, host_memory
from repro.planner.resources import Layout, resources_for
from repro.recipes.assumed import assumed
from repro.recipes.catalog import plan
from repro.stages import BaseModelRef, Calibrate, Distill, Evaluate, Sample
from repro.system.memory import memory_bytes

PROCESS_GIB = assumed("host GiB of a process")


@pytest.fixture(scope="module")
def study():
    return plan("table2", scale="paper", families=("gemma3",), seeds=1)


def first(study, kind, test=lambda stage: True):
    return next(stage for stage in study.stages() if isinstance(stage, kind) and test(stage))


def test_every_rank_holds_converted_weights_and_the_first_saves_the_model(study):
    calibration = first(
        study, Calibrate
    )  # Gemma-3-12B, published in bfloat16, trained in float32; its target is mapped
    policy = 11.77e9 * 4 / GIB
    for ranks in (1, 2, 8):
        assert host_memory(calibration, Layout(ranks, ranks > 1)).total == pytest.approx(ranks * (PROCESS_GIB + policy))
    served = host_memory(calibration, Layout(2, True, vllm_server=1)).total
    assert served == pytest.approx(2 * (PROCESS_GIB + policy) + 3 * PROCESS_GIB)
    student = first(study, Distill, lambda s: s.config.method == "gkd-rkl" and isinstance(s.teacher, Calibrate))
    models = (3.88 * 4 + 11.77 * 2) * 1e9 / GIB  # a teacher of ours is stored in float32 and is converted
    assert host_memory(student, Layout(4, True)).total == pytest.approx(4 * (PROCESS_GIB + models))
    alone = first(study, Distill, lambda s: s.config.method == "gkd-rkl" and isinstance(s.teacher, BaseModelRef))
    assert host_memory(alone, Layout(1)).total == pytest.approx(PROCESS_GIB + 3.88e9 * 4 / GIB)
    published = first(study, Sample | Evaluate, lambda s: isinstance(s.model, BaseModelRef))
    chunk = 4096 * 8192 * SAMPLED_TOKEN_BYTES / GIB  # two ranks hold a chunk each
    assert host_memory(published, Layout(2)).total == pytest.approx(3 * PROCESS_GIB + 2 * chunk)
    assert host_memory(published, Layout(2, tensor_parallel=2)).total == pytest.approx(3 * PROCESS_GIB + chunk)


def test_the_completions_of_a_step_count_where_they_are_more_than_the_weights(study):
    calibration = first(study, Calibrate)
    step = calibration.workload.sequences_per_step * 8192 * STEP_TOKEN_BYTES / GIB
    longer = calibration.config.model_copy(update={"max_completion_tokens": 400 * 8192})
    longest = calibration.model_copy(update={"config": longer})
    assert host_memory(longest, Layout(8, True)).total == pytest.approx(8 * PROCESS_GIB + 400 * step)


def test_advice_for_a_machine_with_too_little_memory(study, monkeypatch):
    def advise(memory, workers=None):
        machine = {"memory_gib": memory, "gpus": [{"memory_gib": 79.6}] * 8}
        monkeypatch.setattr("repro.planner.fit.hardware", lambda: machine)
        return unplaceable(study, study.stages(), resources_for("paper"), workers)

    assert advise(2000.0) == []
    (line,) = advise(150.0)
    assert "in parallel" in line
    assert "--workers 1" in line
    assert advise(150.0, workers=1) == []
    small = advise(64.0)
    assert any("calibrate of google/gemma-3-12b-it" in line and "64" in line and "--ranks" in line for line in small)


def test_a_control_group_limits_what_a_process_may_hold(tmp_path):
    installed = psutil.virtual_memory().total
    membership, root = tmp_path / "own", tmp_path / "cgroup"
    (root / "a" / "b").mkdir(parents=True)
    assert memory_bytes(root, membership) == installed
    membership.write_text("0::/a/b\n")
    (root / "a" / "b" / "memory.max").write_text("max\n")
    assert memory_bytes(root, membership) == installed
    (root / "a" / "memory.max").write_text("1000\n")
    assert memory_bytes(root, membership) == 1000
    (root / "memory" / "job").mkdir(parents=True)  # the first version's tree
    (root / "memory" / "job" / "memory.limit_in_bytes").write_text("500\n")
    membership.write_text("9:name=systemd:/\n4:cpu,cpuacct:/job\n3:memory:/job\n")
    assert memory_bytes(root, membership) == 500


LOADS = """
import sys, torch
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM
from repro.models.loading import load_for_training, locate

def own():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))

if sys.argv[2] == "save":
    config = Qwen3Config(vocab_size=40_000, hidden_size=512, intermediate_size=512, num_hidden_layers=2,
                         num_attention_heads=8, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True)
    Qwen3ForCausalLM(config).to(getattr(torch, sys.argv[3])).save_pretrained(sys.argv[1])
else:
    load_for_training(locate("toy:qwen3-target"))  # what the first loading takes for itself
    before = own()
    model = load_for_training(sys.argv[1])
    sum(float(weight.detach().sum()) for weight in model.parameters())
    print((own() - before) / model.num_parameters())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(("stored", "least", "most"), [("float32", -1.0, 1.0), ("bfloat16", 3.5, 5.0)])
def test_loading_takes_what_is_converted_and_no_more(tmp_path, stored, least, most):
    """Private bytes of each parameter: none where the file is mapped as stored, four where it is converted."""

    def run_child(*arguments):
        finished = subprocess.run(
            [sys.executable, "-c", LOADS, str(tmp_path / "model"), *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        return finished.stdout

    run_child("save", stored)
    bytes_each = float(run_child("load"))
    print(stored, bytes_each)
    assert least < bytes_each < most
