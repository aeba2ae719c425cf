"""What commands print: lists, tables, plans, settings and help, whole and in order."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from repro.recipes.catalog import STUDIES
from repro.tasks import registry


def test_a_result_says_what_stands_in_brackets(repro):
    """Rich took the brackets of titles and heads for markup, and printed nothing in their place."""
    example = Path(__file__).parents[2] / "examples" / "table2-toy"
    code, out, _ = repro("show", example)
    assert code == 0
    assert "accuracy or reward ± 95 % [maj@16, pass@16]" in " ".join(out.split())
    assert "[interval]" in out
    assert "accuracy or reward ± 95 % [maj@16, pass@16]" in repro("export", example, "--format", "markdown")[1]


def test_a_table_of_the_paper_keeps_its_labels_whole(repro):
    code, out, _ = repro("tables", "show", "table2")
    assert code == 0
    for label in ("Gemma-3-12B", "Undistillable", "[0.652, 0.793]"):
        assert label in out


def test_a_list_of_results_keeps_names_and_verdicts_whole(repro, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "table2-toy-with-a-long-name-of-settings"
    shutil.copytree(Path(__file__).parents[2] / "examples" / "table2-toy", tmp_path / "results" / name)
    code, out, _ = repro("ls")
    assert code == 0
    assert f"{name}  20" in out
    assert "\n    seeds    0, 1, 2\n    families qwen3\n    settings the scale's\n" in out
    assert "12 reproduced, 3 contradicted, 2 inconclusive" in out


def test_a_list_of_artifacts_keeps_names_whole_and_has_models_seeds_and_scores(repro, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "evaluate-0123456789abcdef"
    folder = tmp_path / "my" / "cache" / name
    folder.mkdir(parents=True)
    config = {
        "kind": "evaluate",
        "seed": 7,
        "model": {"kind": "base", "name": "/models/acme-tiny", "revision": "sha256:1"},
    }
    record = {"stage": "evaluate", "label": "evaluate", "inputs": [], "ended": "2026-01-01T00:00:00", "config": config}
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "summary.json").write_text(json.dumps({"acme": {"acc": 0.25, "completions_per_item": 2}}))
    code, out, _ = repro("ls", "my", "-a")
    assert code == 0
    line = next(line for line in out.splitlines() if name in line)
    assert line.startswith(f"{name}  2026-01-01 00:00")
    assert "seed 7  evaluate acme-tiny: acc 0.250 on acme (used by nothing)" in line
    assert "my: no results of a study; `repro ls my -a` lists its artifacts\n" in repro("ls", "my")[1]
    code, _, err = repro("report", folder)
    assert (code, "an artifact of one stage, not a study's result" in " ".join(err.split())) == (2, True)
    for command in ("ls", "clean"):
        code, _, err = repro(command, "my/cache")
        assert (code, "my/cache: this is the cache of a results folder. Name that folder" in err) == (2, True)
    code, out, _ = repro("clean", "my")
    assert (code, f"my/cache/{name}" in out.replace("\n", "")) == (0, True)
    code, _, err = repro("ls", "nowhere")
    assert (code, "nowhere: no such folder" in err) == (2, True)


def test_what_made_a_result_names_the_settings_that_were_set(repro, tmp_path):
    shutil.copytree(Path(__file__).parents[2] / "examples" / "table2-toy", tmp_path / "results" / "table2-toy")
    code, out, _ = repro("why", "results/table2-toy/results.json")
    assert code == 0
    assert "settings the scale's defaults (no --set)" in out


def test_checks_of_the_stored_tables_have_names(repro):
    code, out, _ = repro("tables", "check")
    assert code == 0
    assert "ok  claims: sft-helps: the paper's own numbers bear it out in 8 of 14" in out
    assert "oracle" not in out


def test_a_table_goes_to_standard_output_alone(repro):
    code, out, err = repro("export", Path(__file__).parents[2] / "examples" / "table2-toy", "--into", "x")
    assert code == 2
    assert "--into x: a table goes to standard output; write ... > x" in err
    assert not out


def test_help_teaches(repro):
    code, out, _ = repro("--help")
    assert code == 0
    for text in ("run", "calibrate", "distill", "evaluate", "traps", "Exit codes", "repro run table2"):
        assert text in out


def test_list_names_studies_scales_and_hours(repro):
    code, out, _ = repro("list")
    assert code == 0
    for name in (*STUDIES, "toy:qwen3-teacher"):
        assert name in out
    assert len(re.findall(r"--scale \w+ +[\d.,]+ (?:min|h|days) on (?:2 CPU cores|an H100|8 H100s)", out)) == 3 * len(
        STUDIES
    )


def test_list_of_tasks_has_their_kinds_and_sources(repro):
    code, out, _ = repro("list", "--tasks")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert list(lines) == list(registry.names())
    assert "choice" in lines["csqa"]
    assert registry.hub_of("csqa").id in lines["csqa"]
    assert lines["vicuna"].endswith("for evaluation only")
    assert "--data" in lines["file-numeric"]
    assert "embedded world" in lines["toy-csqa"]
    assert "studies" not in out


def test_lists_side_by_side_have_headings(repro):
    _, out, _ = repro("list", "--guards", "--attacks")
    assert [line for line in out.splitlines() if line.endswith(":")] == ["Guards:", "Attacks:"]
    assert "Guards:" not in repro("list", "--guards")[1]


def test_list_of_losses_has_their_settings_and_formulas(repro):
    code, out, _ = repro("list", "--losses")
    assert code == 0
    assert "top-k-tail(k=16)" in out
    assert "KL(p_S||p_T) = sum_v p_S (log p_S - log p_T)" in out
    assert "table2" not in out


def test_env_prints_versions_and_advice(repro):
    code, out, _ = repro("env")
    assert code == 0
    assert "torch 2." in out
    assert "scale auto means" in out


def test_settings_lists_every_key(repro):
    code, out, _ = repro("settings")
    assert code == 0
    assert "\ncalibration.steps=20\n" in out
    assert "\ntasks=toy-bm4,toy-bm5,toy-csqa\n" in out


def test_a_dry_run_touches_nothing(repro, tmp_path):
    code, out, _ = repro("run", "table2", "--scale", "toy", "--dry-run")
    assert code == 0
    assert "Nothing was run" in out
    assert "calibrate teacher" in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_at_paper_scale_prints_gpu_hours(repro):
    code, out, _ = repro("run", "table2", "--scale", "paper", "--dry-run")
    assert code == 0
    source = "DERIVED from the data sheet of the H100; no stage like these has run"
    for word in ("GPU-hours", "Qwen/Qwen3-8B", "unpinned", source):
        assert word in out.replace("\n", " ")


def test_listing_imports_little_and_plans_nothing():
    listing = """
import sys
import repro.cli
sys.argv = ["repro", "list"]
try:
    repro.cli.main()
except SystemExit:
    pass
print(*sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout
    assert "--scale paper" in out
    imported = set(out.splitlines()[-1].split())
    assert not imported & {"torch", "numpy", "pyarrow", "repro.stages", "repro.planner.hours", "repro.recipes.catalog"}


def test_tables_are_shown_exported_and_checked(repro):
    code, out, _ = repro("tables", "show", "table2")
    assert code == 0
    assert "0.639" in out
    code, out, _ = repro("tables", "export", "--format", "json", "table5")
    assert code == 0
    assert "141.5" in json.dumps(json.loads(out))
    code, out, _ = repro("tables", "check")
    assert code == 0
    assert "0 not accounted for in the stored files" in out
    assert repro("tables", "show", "table9")[0] == 2
    assert repro("tables", "export", "table1", "--format", "xml")[0] == 2
