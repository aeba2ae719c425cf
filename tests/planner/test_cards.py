"""The GPU whose hours a plan states: this machine's, if its data sheet is known."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from repro.planner.cards import DATA_SHEETS, H100, machine_gpu
from repro.planner.corrections import corrections_from
from repro.planner.dry_run import gpu_hours_to_run, print_plan
from repro.planner.hours import estimate, study_hours
from repro.planner.records import is_same_machine, measured_stage
from repro.planner.resources import resources_for
from repro.planner.roofline import stage_seconds
from repro.recipes.catalog import plan
from repro.system.hardware import hardware


def machine(*names: str, gib: float = 79.2) -> dict:
    gpus = [{"index": str(n), "uuid": f"GPU-{n}", "name": name, "memory_gib": gib} for n, name in enumerate(names)]
    return hardware() | {"gpus": gpus}


@pytest.mark.parametrize(
    ("name", "listed"),
    {
        "NVIDIA A100-SXM4-80GB": "A100 SXM4 80GB",
        "NVIDIA A100 80GB PCIe": "A100 80GB",
        "NVIDIA A100-PCIE-40GB": "A100",
        "NVIDIA A10": "A10",
        "NVIDIA A10G": "A10G",
        "NVIDIA H100 80GB HBM3": "H100",
        "NVIDIA H100 PCIe": "H100 PCIe",
        "NVIDIA H200": "H200",
        "NVIDIA GeForce RTX 4090": "RTX 4090",
        "NVIDIA H200 NVL": "H200 NVL",
        "NVIDIA L40S": "L40S",
        "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
        "NVIDIA GeForce RTX 4090 Laptop GPU": None,
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb": None,
        "Tesla V100-SXM2-16GB": None,
        "NVIDIA RTX A4000": None,
        "NVIDIA A10-4Q": None,
        "NVIDIA GeForce RTX 3090 Ti": None,
        "NVIDIA GeForce RTX 4090 D": None,
    }.items(),
)
def test_a_gpu_is_known_by_the_words_of_its_name(name, listed):
    gpu = machine_gpu(machine(name, gib=23.6))
    if listed is None:
        assert gpu == replace(H100, name=f"H100 for the unlisted {name}")
    else:
        assert (gpu.name, gpu.bandwidth, gpu.flops, gpu.gib) == (listed, *DATA_SHEETS[listed], 23.6)


def test_of_several_gpus_the_slowest_counts_and_without_a_known_one_an_h100():
    assert machine_gpu(machine("NVIDIA H100 PCIe", "NVIDIA L4")).name == "L4"
    assert machine_gpu(machine("NVIDIA L40S", "NVIDIA A100-SXM4-80GB")).name == "L40S"  # less than half the bandwidth
    assert machine_gpu(machine()) is H100


def test_a_plan_states_the_hours_of_this_machines_gpu(tmp_path, monkeypatch):
    study = plan("table2", scale="small", seeds=1)
    of_h100, name = gpu_hours_to_run(study, tmp_path, resources_for("small"))
    assert name == "H100"
    monkeypatch.setattr("repro.planner.scales.hardware", lambda: machine("NVIDIA L4", gib=22.5))
    slower, name = gpu_hours_to_run(study, tmp_path, resources_for("small"))
    assert name == "L4"
    assert 3 < slower / of_h100 < 12  # 11 times less bandwidth, 8 times fewer operations; launches take as long
    console = Console(file=StringIO(), width=200)
    print_plan(study, tmp_path, console, resources_for("small"))
    text = console.file.getvalue()
    assert "GPU-hours (L4)" in text
    assert "DERIVED from the data sheet of the L4" in text
    assert gpu_hours_to_run(study, tmp_path, resources_for("small"), is_here=False) == (of_h100, "H100")  # Slurm jobs
    large = plan("table2", scale="paper", seeds=1)
    assert gpu_hours_to_run(large, tmp_path, resources_for("paper"))[1] == "H100"  # it cannot run here


def test_the_stored_hours_are_those_of_an_h100_on_every_machine(monkeypatch):
    study = plan("table2", scale="small", seeds=1)
    expected = study_hours(study, 1)
    monkeypatch.setattr("repro.planner.scales.hardware", lambda: machine("NVIDIA L4"))
    assert study_hours(study, 1) == expected


def test_a_stage_that_saw_one_of_several_gpus_ran_on_this_machine():
    here = machine("NVIDIA L4", "NVIDIA L4")
    assert is_same_machine(machine("NVIDIA L4"), here)
    assert is_same_machine(machine(), here)
    assert not is_same_machine(machine("NVIDIA L40S"), here)


def test_records_correct_the_hours_of_their_own_gpu(tmp_path, monkeypatch):
    here = machine("NVIDIA A100-SXM4-80GB", gib=79.3)
    stage = next(stage for stage in plan("table2", scale="small", seeds=1).stages() if stage.kind == "sample")
    gpu = machine_gpu(here)
    record = {
        "config": stage.model_dump(mode="json"),
        "hardware": here,
        "gpus": ["GPU-0"],
        "seconds": 1.5 * stage_seconds(stage, gpu),
        "process_seconds": 9.0,
        "ended": "2026-01-01T00:00:00+00:00",
    }
    assert measured_stage(record).modelled == stage_seconds(stage, gpu)
    folder = tmp_path / "cache" / stage.folder_name
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    monkeypatch.setattr("repro.planner.records.hardware", lambda: here)
    corrections = corrections_from(tmp_path, gpu)
    assert estimate(stage, "small", corrections).seconds == pytest.approx(record["seconds"])
