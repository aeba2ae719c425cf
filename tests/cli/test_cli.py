"""The command: it teaches, and a mistake of the user is exit code 2 with one clear line, never a traceback."""

import json
import queue
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.numpy import load_file, save_file

from repro.cli import entry_point as cli
from repro.errors import Interrupted
from repro.models.loading import locate
from repro.recipes.catalog import STUDIES
from repro.tasks import registry


@pytest.fixture
def repro(monkeypatch, capsys, tmp_path):
    """Run the command in this process; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: None)  # leave this process its own handlers

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["repro", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def copy(tmp_path):
    """A copy of a toy model folder, for a test to damage."""

    def make(name="toy:qwen3-student"):
        folder = tmp_path / name.removeprefix("toy:")
        shutil.copytree(locate(name), folder)
        return folder

    return make


MISTAKES = {
    "unknown study": (("run", "nosuch"), "study 'nosuch'"),
    "unknown scale": (("run", "table2", "--scale", "huge"), "scale 'huge'"),
    "unknown key": (("run", "table2", "--scale", "toy", "--set", "nosuch.key=1"), "nosuch.key"),
    "unknown task that this study does not read": (
        ("run", "table2", "--scale", "toy", "--set", "source_tasks=toy-bm4,nosuch"),
        "unknown task 'nosuch'",
    ),
    "a setting of other studies": (
        ("run", "table2", "--scale", "toy", "--dry-run", "--set", "matrix.attacks=sft"),
        "--set matrix.attacks=sft: table2 does not use this setting, so it would only rename the result's folder. Leave it out"
        " (studies that use it: guards and leak).",
    ),
    "a setting of other studies for the doctor": (
        ("doctor", "table2", "--scale", "toy", "--set", "prefixes.min_tokens=3"),
        "studies that use it: figure4",
    ),
    "a judge that is not a model": (("run", "table2", "--scale", "toy", "--set", "judge=_!"), "model '_!'"),
    "eta is no number": (("run", "table2", "--scale", "toy", "--set", "eta=abc"), "eta=abc"),
    "eta has a sign": (("run", "table2", "--scale", "toy", "--set", "eta=-0.5"), "eta_undistillable=-0.5"),
    "eta of a stage is no number": (("calibrate", "toy:qwen3-teacher", "--eta", "abc"), "abc"),
    "eta is not finite": (("calibrate", "toy:qwen3-teacher", "--eta", "nan"), "--eta nan"),
    "unknown family": (("run", "table2", "--scale", "toy", "--family", "llama"), "family 'llama'"),
    "a server for nothing": (("run", "table2", "--scale", "toy", "--vllm-server", "1"), "samples with vLLM"),
    "ranks that cannot share a step": (("run", "table2", "--scale", "toy", "--ranks", "3"), "Use --ranks 2"),
    "no seeds": (("run", "table2", "--scale", "toy", "--seeds", "0"), "--seeds 0"),
    "a scale that does not fit": (("run", "table2", "--scale", "paper"), "needs 8 GPUs"),
    "no such model folder": (("calibrate", "./nowhere", "--eta", "1"), "./nowhere"),
    "unknown toy model": (("evaluate", "toy:nothing"), "toy:nothing"),
    "no target": (("calibrate", "a/b", "--eta", "1"), "--target"),
    "report of nothing": (("report", "./nowhere"), "nowhere: no such folder"),
    "first seed below zero": (("run", "table2", "--first-seed", "-1"), "--first-seed"),
    "unknown task": (("evaluate", "toy:qwen3-student", "--task", "nosuch"), "nosuch"),
    "unknown method": (
        ("distill", "toy:qwen3-student", "--teacher", "toy:qwen3-teacher", "--method", "x"),
        "--method x",
    ),
    "unknown split": (("sample", "toy:qwen3-student", "--split", "dev"), "'dev' is not one of 'train', 'test', 'all'"),
    "unknown engine": (("evaluate", "toy:qwen3-student", "--engine", "x"), "engine"),
    "no result": (("show", "nowhere"), "nowhere: no such folder"),
    "doctor of a model": (("doctor", str(Path(__file__).parent)), "not a study. Name one of `repro list`"),
    "comparison with itself": (("compare", "nowhere", "./nowhere"), "nowhere: named twice"),
    "comparison with nothing": (("compare", "nowhere", "elsewhere"), "nowhere: no such folder"),
    "page of results": (
        ("compare", str(Path(__file__).parent), str(Path(__file__).parents[1]), "--page", "x.html"),
        "--page x.html: only for evaluations",
    ),
    "unknown command": (("frobnicate",), "frobnicate"),
    "unknown option": (("list", "--frobnicate"), "frobnicate"),
    "data for several tasks": (("evaluate", "toy:qwen3-student", "--data", "x.jsonl"), "--data"),
    "no data file": (("evaluate", "toy:qwen3-student", "--task", "gsm8k", "--data", "x.jsonl"), "x.jsonl"),
    "record of nothing": (("record-verdicts", "nowhere"), "nowhere"),
    "settings of no scale": (("settings", "--scale", "huge"), "huge"),
    "one completion per prompt": (
        ("run", "table1", "--scale", "toy", "--set", "evaluation.completions_per_prompt=1"),
        "completions_per_prompt=1",
    ),
    "one completion per prompt of the user's models": (
        ("traps", "toy:qwen3-teacher", "toy:qwen3-student", "--set", "evaluation.completions_per_prompt=1"),
        "completions_per_prompt=1",
    ),
    "no number of a figure": (("tables", "export", "figure2"), "figure2"),
    "traps of no model": (("traps", "toy:qwen3-teacher", "./nowhere"), "./nowhere"),
    "unknown loss": (
        ("run", "table2", "--scale", "toy", "--set", "gkd_rkl.divergence=revers"),
        "loss 'revers': no such loss. `repro list --losses` shows all 10",
    ),
    "unknown loss of the user's models": (
        ("distill", "toy:qwen3-student", "--teacher", "toy:qwen3-teacher", "--set", "gkd_rkl.divergence=jds"),
        "loss 'jds': no such loss. Did you mean jsd?",
    ),
    "zero items": (("evaluate", "toy:qwen3-student", "--items", "0"), "0"),
    "a value that is no number": (
        ("run", "table2", "--seeds", "three"),
        "Invalid value 'three' for '--seeds'",
    ),
    "a value out of range": (("run", "table2", "--first-seed", "-1"), "Invalid value '-1' for '--first-seed'"),
    "a command's page of help": (("run", "table2", "--seeds", "three"), ". See repro run --help."),
    "a misspelt command": (("runn", "table2"), "Did you mean 'run'? See repro --help."),
    "negative workers of the doctor": (("doctor", "table2", "--scale", "toy", "--workers", "-1"), "'-1'"),
    "no rows of a file's task": (
        ("evaluate", "toy:qwen3-student", "--task", "file-numeric", "--dry-run"),
        "--data FILE",
    ),
    "a setting that a stage does not read": (
        ("evaluate", "toy:qwen3-student", "--set", "sft.steps=3", "--dry-run"),
        "--set sft.steps=3: evaluate does not read this setting. It reads evaluation.*, tasks, train_items",
    ),
    "a loss of another method": (
        (
            *("distill", "toy:qwen3-student", "--teacher", "toy:qwen3-teacher", "--method", "sft"),
            *("--set", "gkd_rkl.divergence=jsd", "--dry-run"),
        ),
        "sft does not read this setting. It reads sft.*, teacher_sampling.*",
    ),
    "settings of a diagnosis": (
        ("traps", "toy:qwen3-teacher", "toy:qwen3-student", "--set", "world=world4", "--dry-run"),
        "--set world=world4: diagnose does not read this setting",
    ),
    "eta of a calibration as a setting": (
        ("calibrate", "toy:qwen3-teacher", "--eta", "1", "--set", "eta=0.5", "--dry-run"),
        "give the eta of a calibration with --eta",
    ),
    "a task twice": (
        ("evaluate", "toy:qwen3-student", "--task", "toy-csqa", "--task", "toy-csqa", "--dry-run"),
        "tasks toy-csqa, toy-csqa: list each once",
    ),
    "an unknown divergence": (
        ("conform", "repro.conformance.reference:loss", "--divergence", "sideways"),
        "--divergence sideways: choose from forward, reverse",
    ),
    "settings are counted as they are listed": (("run", "table2", "--set", "x=1"), "`repro settings` lists all 103."),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_clear_line_and_exit_code_2(repro, tmp_path, arguments, message):
    code, out, err = repro(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no *.safetensors"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_a_model_folder_without_a_file(repro, copy, missing, message):
    folder = copy()
    (folder / missing).unlink()
    code, _, err = repro("evaluate", folder)
    assert code == 2
    assert message in err
    assert str(folder) in err.replace("\n", "")


def test_an_artifact_in_place_of_its_model_names_the_model(repro, copy, tmp_path):
    (tmp_path / "calibrate-0123456789abcdef").mkdir()
    model = copy().rename(tmp_path / "calibrate-0123456789abcdef" / "model")
    code, _, err = repro("distill", "toy:qwen3-student", "--teacher", model.parent)
    assert code == 2
    assert f"Its model is in {model}: give that folder." in err


def test_an_empty_folder_is_neither_a_model_nor_a_result(repro, tmp_path):
    (tmp_path / "empty").mkdir()
    assert repro("evaluate", tmp_path / "empty")[0] == 2
    assert repro("show", tmp_path / "empty")[0] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "rows.jsonl"), ("{not json\n", "row 1"), ('{"question": "1+1?"}\n', "answer")],
)
def test_a_malformed_data_file(repro, tmp_path, content, message):
    (tmp_path / "rows.jsonl").write_text(content)
    code, _, err = repro("evaluate", "toy:qwen3-student", "--task", "gsm8k", "--data", "rows.jsonl")
    assert code == 2
    assert message in err


def test_a_field_that_the_task_does_not_read(repro, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1+1?", "answer": 2}\n')
    code, _, err = repro(
        *("evaluate", "toy:qwen3-student", "--task", "file-numeric", "--data", "rows.jsonl", "--split", "all"),
        *("--field", "promt=prompt", "--dry-run"),
    )
    assert code == 2
    assert "--field promt=prompt: task file-numeric reads no field 'promt'. Expected: prompt, answer" in err


def test_a_plugin_without_a_plugin(repro, tmp_path):
    (tmp_path / "nothing_here.py").write_text("from repro.distillation.loss import Loss\nx = 1\n")
    code, _, err = repro("run", "table2", "--scale", "toy", "--plugin", "nothing_here.py", "--dry-run")
    assert code == 2
    assert "nothing_here.py: no class in it extends a class of this kit" in err


def test_a_result_that_was_not_verified_does_not_agree_in_everything(repro, tmp_path):
    shutil.copytree(Path(__file__).parents[2] / "examples" / "table2-toy", tmp_path / "table2-toy")
    code, out, _ = repro("verify", "table2-toy")
    assert code == 0
    assert "everything verified agrees; see the lines marked note for the rest" in out
    code, _, err = repro("verify", "table2-toy", "--cache", "nowhere")
    assert code == 2
    assert "--cache nowhere: no such folder" in err


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


def test_vocabularies_that_differ_are_refused_before_any_work(repro):
    code, _, err = repro("distill", "toy:qwen3-student", "--teacher", "toy:gemma3-teacher")
    assert code == 2
    assert "gemma3-teacher" in err
    assert "tokenizer" in err or "vocabular" in err


def test_a_study_of_two_vocabularies_is_refused_before_any_work(repro):
    code, _, err = repro(
        "run", "table1", "--scale", "toy", "--family", "qwen3", "--set", "families.qwen3.teacher=toy:gemma3-teacher"
    )
    assert code == 2
    assert "different tokenizers" in err
    assert "repro traps" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.processes
@pytest.mark.parametrize("items", ["4", "1"], ids=["NaN weights", "one prompt"])
def test_traps_that_cannot_be_measured_are_one_line(repro, copy, items):
    folder = copy()
    if items == "4":
        weights = load_file(folder / "model.safetensors")
        damaged = next(name for name in weights if name.endswith("norm.weight"))
        weights[damaged][:] = float("nan")
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
    code, out, err = repro("traps", "toy:qwen3-teacher", folder, "--task", "toy-bm4", "--quiet", "--items", items)
    assert code == 2
    assert ("logits hold NaN" if items == "4" else "task toy-bm4 has one prompt") in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_the_panel_of_two_models(repro, tmp_path):
    arguments = ("traps", "toy:gemma3-teacher", "toy:gemma3-student", "--task", "toy-bm4", "--items", 4, "--json")
    code, out, _ = repro(*arguments)
    assert code == 0
    panel = json.loads(out)
    assert {row["measure"] for row in panel["panel"]} >= {"token_rkl", "is_rkl", "pareto_k", "wrong_trace"}
    folder = next((tmp_path / "results").glob("traps-*"))
    assert json.loads((folder / "panel.json").read_text()) == panel
    assert all((folder / name).stat().st_size for name in panel["figures"])
    code, out, _ = repro(*arguments[:-1])  # cached
    assert "3 cached, 0 to run" in out
    assert "What was found" in out
    assert "effective_sample_size" not in out
    assert "effective_sample_size" in repro("show", folder)[1].replace("\n", "").replace(" ", "")
    code, out, _ = repro("traps", "toy:qwen3-teacher", "toy:gemma3-student", "--task", "toy-bm4", "--items", 4)
    assert "Left out, since the models share no vocabulary: token KL" in " ".join(out.split())


def test_an_unwritable_output_folder(repro, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = repro("run", "table2", "--scale", "toy", "--out", "file/below")
    assert code == 2
    assert "file/below" in err


def test_a_truncated_result(repro, tmp_path):
    (tmp_path / "results.json").write_text('{"study": "table2", "mea')
    code, _, err = repro("show", tmp_path)
    assert code == 2
    assert "Run the study again" in err


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


@pytest.mark.processes
def test_one_stage_end_to_end(repro, tmp_path):
    code, out, _ = repro("evaluate", "toy:qwen3-student", "--task", "toy-bm4", "--items", 4, "--quiet")
    assert code == 0
    folder = next((tmp_path / "results" / "cache").glob("evaluate-*"))
    assert json.loads((folder / "summary.json").read_text())["toy-bm4"]["items"] == 4
    assert re.fullmatch(
        r"acc 0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\] on toy-bm4 \(4 items x 16\); chance 0\.\d{3}", out.splitlines()[-1]
    )
    copy = shutil.copytree(folder, tmp_path / "copies" / folder.name)
    code, out, _ = repro("compare", folder, copy)
    assert code == 0
    assert "B - A: +0.000 [" in out
    code, out, _ = repro("compare", folder, copy, "--page", "compare.html")
    assert (code, "written: compare.html, compare.md" in out) == (0, True)
    code, out, _ = repro("verify", folder)
    assert (code, out.splitlines()[-1]) == (0, "everything agrees")
    code, _, err = repro("verify", folder, "--cache", "results/cache")
    assert (code, "is an artifact, whose record names its inputs" in err) == (2, True)
    code, _, err = repro("compare", folder)
    assert (code, "nothing to compare it with" in err) == (2, True)
    code, _, err = repro("compare", folder, Path(__file__).parents[2] / "examples" / "table2-toy")
    assert (code, "is an artifact and" in err, err.count("\n")) == (2, True, 1)
    code, out, _ = repro("show", folder)
    assert code == 0
    assert "evaluate toy:qwen3-student" in out
    code, out, _ = repro("show", folder, "--completions", 3)
    assert (code, out.count("toy-bm4, item "), out.count("  13 more")) == (0, 3, 3)


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


def test_an_internal_error_never_looks_like_a_contradiction(repro, monkeypatch):
    from repro.report import reload as show

    def broken(*_):
        raise KeyError("ours")

    monkeypatch.setattr(show, "show_result", broken)
    code, _, err = repro("show", "anything")
    assert code == 3
    assert "internal error" in err


def test_a_damaged_panel_is_one_line(repro, tmp_path):
    from repro.report.panel import PANEL_FILE

    (tmp_path / PANEL_FILE).write_text("{}")
    code, _, err = repro("show", tmp_path)
    assert code == 2
    assert f"{PANEL_FILE}: damaged" in err.replace("\n", "")


@pytest.mark.parametrize(
    ("interruption", "line"),
    [
        (Interrupted("finished stages are kept"), "interrupted: finished stages are kept"),
        (Interrupted(), "interrupted"),
    ],
)
def test_an_interrupted_command_says_what_is_kept_and_no_more(repro, monkeypatch, interruption, line):
    from repro.report import reload

    def show(*arguments):
        raise interruption

    monkeypatch.setattr(reload, "show_result", show)
    code, _, err = repro("show", "anything")
    assert code == 130
    assert err.strip() == line


def test_an_interrupt_lost_in_a_destructor_is_sent_again(monkeypatch):
    sent: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(cli.os, "kill", lambda pid, number: sent.put(number))
    cli._interrupt_again(SimpleNamespace(exc_value=Interrupted()))
    assert sent.get() == signal.SIGINT
