"""A mistake of the user is exit code 2 with one clear line, never a traceback, and names the fix."""

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

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


def test_a_damaged_panel_is_one_line(repro, tmp_path):
    from repro.report.panel import PANEL_FILE

    (tmp_path / PANEL_FILE).write_text("{}")
    code, _, err = repro("show", tmp_path)
    assert code == 2
    assert f"{PANEL_FILE}: damaged" in err.replace("\n", "")
