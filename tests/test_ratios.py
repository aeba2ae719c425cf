"""Speed is compared as ratios: a slower machine changes nothing, a slower pass fails."""

import json

import pytest
from ratios import main, ratios, slower


def run(streaming=1.2, factor=1.0):
    times = {"floor, whole": 1.0, "floor, chunks": 1.1, "streaming": streaming, "trl": 4.0}
    return {
        "datetime": "2026-11-24",
        "commit_info": {"id": "d4" * 20},
        "machine_info": {"cpu": {}, "python_version": "3.11"},
        "benchmarks": [
            {"group": "T1", "params": {"name": name}, "stats": {"min": time * factor}} for name, time in times.items()
        ],
    }


def test_a_machine_of_another_speed_has_the_same_ratios():
    assert ratios(run()) == ratios(run(factor=7.0))
    assert ratios(run())["T1"]["streaming"] == 1.2


def test_only_our_own_slowness_beyond_the_tolerance_counts():
    baseline = {"groups": {"T1": {"tolerance": 1.3, "ratios": ratios(run())["T1"]}}}
    assert slower(ratios(run(1.55)), baseline) == []
    (line,) = slower(ratios(run(1.6)), baseline)
    assert "bar 1.56" in line


def test_write_then_compare(tmp_path):
    files = [str(tmp_path / name) for name in ("run.json", "deep/baseline.json")]
    (tmp_path / "run.json").write_text(json.dumps(run()))
    assert main(files) == 1  # no baseline is not a pass
    assert main([*files, "--write"]) == 0
    assert main(files) == 0
    (tmp_path / "run.json").write_text(json.dumps(run(streaming=3.0)))
    assert main(files) == 1
    (tmp_path / "run.json").write_text(json.dumps({"benchmarks": []}))
    assert main(files) == 1  # nor is a run in which everything was skipped


def test_another_gpu_is_added_beside_the_first(tmp_path):
    files = [str(tmp_path / name) for name in ("run.json", "baseline.json")]
    for group in ("T1", "T2"):
        content = run()
        for benchmark in content["benchmarks"]:
            benchmark["group"] = group
        (tmp_path / "run.json").write_text(json.dumps(content))
        assert main(files) == 1
        assert main([*files, "--write"]) == 0
    assert set(json.loads((tmp_path / "baseline.json").read_text())["groups"]) == {"T1", "T2"}


def test_a_run_without_its_floor_is_refused():
    content = run()
    content["benchmarks"] = content["benchmarks"][2:]
    with pytest.raises(SystemExit, match="needs a floor"):
        ratios(content)


def training(vllm=0.2, trl=0.9):
    content = run()
    content["benchmarks"] = [
        {"group": "G", "params": {"name": name}, "stats": {"min": 1.0}, "extra_info": {"ratios": {name: value}}}
        for name, value in {"transformers": 1.0, "vLLM colocated": vllm, "TRL's GKD loop": trl}.items()
    ]
    return content


def test_ratios_of_the_training_benchmarks_are_held_one_by_one():
    baseline = {"groups": {"G": {"tolerance": 1.3, "ratios": ratios(training())["G"]}}}
    assert slower(ratios(training(vllm=0.25, trl=9.0)), baseline) == []
    (line,) = slower(ratios(training(vllm=0.3)), baseline)
    assert "vLLM colocated takes 0.30 x the base" in line
    del baseline["groups"]["G"]["ratios"]["vLLM colocated"]
    (line,) = slower(ratios(training()), baseline)
    assert "no baseline for vLLM colocated" in line
