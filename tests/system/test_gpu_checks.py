"""Each GPU problem is one line with its fix; the facts about the machine are made up."""

import pytest
from stub_nvidia_smi import card, install

from repro.errors import InputError
from repro.planner.scales import automatic_scale, check_fits
from repro.system import gpu_checks
from repro.system import hardware as machine

H100 = {"name": "NVIDIA H100 80GB HBM3", "memory_gib": 79.6, "driver": "580.95.05"}
IMAGE = {"target": "cuda", "base_image": "nvidia/cuda:13.0.2-base-ubuntu24.04", "base_digest": "unpinned"}
GOOD = {
    "cpus": 16,
    "memory_gib": 128.0,
    "gpus": [H100],
    "gpu_devices": 1,
    "driver_cuda": "13.1",
    "cuda": "13.0",
    "shared_memory_gib": 8.0,
    "container": None,
}


def test_a_good_machine_has_no_problem():
    assert gpu_checks.gpu_problems(GOOD) == []
    assert gpu_checks.gpu_problems(GOOD | {"driver_cuda": None}) == []
    assert gpu_checks.gpu_problems(GOOD | {"shared_memory_gib": None}) == []


def test_a_cpu_environment_without_a_gpu_has_no_problem():
    assert gpu_checks.gpu_problems(GOOD | {"gpus": [], "gpu_devices": 0, "cuda": None, "shared_memory_gib": 0.06}) == []


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"gpus": [], "gpu_devices": 0, "container": IMAGE}, ("no GPU is visible", "--gpus all", "Container Toolkit")),
        ({"gpus": [], "gpu_devices": 0}, ("no GPU is visible", "CUDA 13.0", "580 or newer")),
        ({"gpus": [], "gpu_devices": 2}, ("2 GPU device files", "nvidia-smi lists no usable GPU")),
        (
            {"gpus": [H100 | {"driver": "535.104"}], "driver_cuda": "12.2"},
            ("driver 535.104 offers CUDA 12.2", "580 or newer"),
        ),
        ({"shared_memory_gib": 0.0625, "container": IMAGE}, ("/dev/shm holds 64 MiB", "--shm-size=1g", "--ipc=host")),
        (
            {"missing_build_tools": ["a C compiler (gcc or clang)", "/usr/include/python3.11/Python.h"]},
            (
                "a C compiler (gcc or clang) and /usr/include/python3.11/Python.h cannot be found",
                "apt install gcc python3",
            ),
        ),
        ({"gpus": [H100] * 8, "shared_memory_gib": 4.0}, ("holds 4096 MiB", "8 GPU(s)", "size=8G /dev/shm")),
    ],
)
def test_each_problem_is_one_line_with_its_fix(facts, named):
    (line,) = gpu_checks.gpu_problems(GOOD | facts)
    assert "\n" not in line
    for text in named:
        assert text in line


def test_a_newer_minor_version_of_cuda_is_no_problem_and_an_older_major_version_is():
    assert gpu_checks.old_driver(GOOD | {"cuda": "13.5", "driver_cuda": "13.0"}) is None
    assert gpu_checks.old_driver(GOOD | {"cuda": "13.0", "driver_cuda": "12.9"})


def test_a_gpu_scale_is_refused_before_any_work_and_toy_is_not():
    old = GOOD | {"gpus": [H100 | {"driver": "535.104"}], "driver_cuda": "12.2"}
    with pytest.raises(InputError, match=r"scale small: NVIDIA driver 535\.104"):
        check_fits("small", old)
    check_fits("toy", old)
    hidden = GOOD | {"gpus": [], "gpu_devices": 0, "container": IMAGE}
    assert automatic_scale(hidden)[0] == "toy"
    with pytest.raises(InputError, match="--gpus all"):
        check_fits("small", hidden)
    check_fits("toy", hidden)


def test_small_shared_memory_does_not_stop_a_run():
    check_fits("small", GOOD | {"shared_memory_gib": 0.0625})


def test_the_drivers_cuda_is_read_from_nvidia_smi(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path / "bin", card(0, "GPU-a", 81559, H100["name"], compute_cap="9.0"))
    facts = machine.hardware()
    assert facts["driver_cuda"] == "13.0"
    assert facts["gpus"] == [H100 | {"index": "0", "uuid": "GPU-a", "compute_capability": 9.0}]
    assert "driver 580.95.05 (CUDA 13.0)" in gpu_checks.describe_driver(facts)


@pytest.mark.parametrize(
    ("programs", "compiler", "has_headers", "missing"),
    [
        (("gcc",), None, True, []),
        (("clang",), None, True, []),
        (("gcc", "my-cc"), "my-cc", True, []),
        ((), None, True, ["a C compiler (gcc or clang)"]),
        (("gcc",), "no-such-cc", True, ["the C compiler that CC names"]),
        (("gcc",), None, False, ["Python.h"]),
        ((), None, False, ["a C compiler (gcc or clang)", "Python.h"]),
    ],
)
def test_a_compiler_and_headers_are_looked_for_as_triton_does(
    monkeypatch, tmp_path, programs, compiler, has_headers, missing
):
    """`triton/runtime/build.py`: $CC alone if it is set, else gcc or clang; headers in sysconfig's folder."""
    folder, include = tmp_path / "bin", tmp_path / "include"
    include.mkdir()
    install(monkeypatch, folder, card(0, "GPU-a", 81559, H100["name"]))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(machine.sysconfig, "get_paths", lambda scheme: {"include": str(include)})
    monkeypatch.delenv("CC", raising=False)
    if compiler is not None:
        monkeypatch.setenv("CC", compiler)
    for name in programs:
        (folder / name).touch(0o755)
    if has_headers:
        (include / "Python.h").touch()
    facts = machine.hardware()
    assert facts["missing_build_tools"] == missing
    assert bool(gpu_checks.missing_build_tools(facts | {"cuda": "13.0"})) == bool(missing)
    assert gpu_checks.missing_build_tools(facts | {"cuda": None}) is None  # torch's CPU build runs no such kernel
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_checks.missing_build_tools(machine.hardware()) is None


def test_without_a_gpu_no_compiler_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.hardware()["missing_build_tools"] == []


def test_the_container_reports_its_base_image_and_whether_it_is_pinned(monkeypatch):
    monkeypatch.delenv("REPRO_IMAGE", raising=False)
    assert machine.container() is None
    monkeypatch.setenv("REPRO_IMAGE", "cuda")
    monkeypatch.setenv("REPRO_BASE_IMAGE", "nvidia/cuda:13.0.2-base-ubuntu24.04")
    assert machine.container() == IMAGE
    monkeypatch.setenv("REPRO_BASE_IMAGE", "a/b:1@sha256:" + "0" * 64)
    assert machine.container() == {"target": "cuda", "base_image": "a/b:1", "base_digest": "sha256:" + "0" * 64}
