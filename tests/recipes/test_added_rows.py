"""The rows of docs/plugins.md, from a file and from an installed package: planned, refused, run, judged and shown."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from outside_package import install
from rich.console import Console

from repro.errors import InputError
from repro.pipeline.cluster import Execution
from repro.planner.resources import Resources
from repro.recipes.catalog import plan
from repro.recipes.study_rows import ROWS
from repro.report.export_result import export_result
from repro.report.result import read_result
from repro.stages import Calibrate, Distill, stage_adapter
from repro.system import plugin_files
from repro.tables.own_claims import read_own_claims
from repro.workflow.result_folder import result_folder
from repro.workflow.study import run_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SOURCE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
TEACHER, STUDENT = "Undistillable, half way", "Misled, half way"
CLAIM = re.findall(r"```toml\n(\[\[claims\]\].*?)```", PAGE, re.DOTALL)[0].replace('"Misled"', f'"{STUDENT}"')
CHOSEN = ("rows=half-way",)


@pytest.fixture
def use_file(tmp_path, monkeypatch):
    """Return a function that puts a source into a file outside the tree, and uses it until the test ends."""
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    files = []

    def use(source: str = SOURCE) -> Path:
        monkeypatch.setenv(plugin_files.VARIABLE, "")
        file = tmp_path / f"rows_{os.getpid()}_{tmp_path.name}_{len(files)}.py"
        file.write_text(source)
        plugin_files.use([file])
        files.append(file)
        return file

    yield use
    for file in files:
        sys.modules.pop(file.stem, None)


def rows_of(study):
    return {row.method: row for row in study.rows}


def test_a_file_adds_rows_after_the_studys_own(use_file):
    use_file()
    plain = plan("table2", scale="toy")
    study = plan("table2", scale="toy", assignments=["rows=half-way(share=0.4)"], seeds=2)
    assert [row.method for row in study.rows if row.seed == 0] == [*rows_of(plain), TEACHER, STUDENT]
    assert study.rows[: len(plain.rows)] == plain.rows
    teacher, student = (rows_of(study)[label] for label in (TEACHER, STUDENT))
    assert teacher.plugin == student.plugin == "half-way(share=0.4)"
    assert isinstance(teacher.stage.model, Calibrate)
    assert teacher.stage.model.config.eta == pytest.approx(0.4 * plain.settings["eta_undistillable"])
    assert isinstance(student.stage.model, Distill)
    assert student.stage.model.teacher == teacher.stage.model
    assert student.stage.identity()["model"] == student.stage.model.fingerprint
    assert student.stage.model.identity()["config"]["divergence"]["content"]  # the loss of the file
    assert "rows" not in plain.settings  # of no result before there were any
    ((kept),) = study.settings["rows"]
    assert (kept["name"], kept["share"], len(kept["content"])) == ("half-way", 0.4, 64)


def test_a_changed_file_gets_a_folder_of_its_own(use_file, tmp_path):
    def folder(assignments=CHOSEN):
        return result_folder(plan("table2", scale="toy", assignments=assignments), tmp_path)

    use_file()
    first = folder()
    use_file(SOURCE + "# changed\n")
    assert first.name.startswith("table2-toy-rowshalf-way-")
    assert len({first, folder(), folder(())}) == 3
    named = tmp_path / "mine"
    named.mkdir()
    study = plan("table2", scale="toy", assignments=CHOSEN)
    header = {name: getattr(study, name) for name in ("scale", "seeds", "families", "settings")}
    (named / "results.json").write_text(json.dumps({"study": "table2", **header}))
    with pytest.raises(InputError, match="would replace"):
        result_folder(plan("table2", scale="toy"), tmp_path, "mine")


ROW = 'yield pair.row("Undistillable, half way", pair.evaluate(teacher))'


@pytest.mark.parametrize(
    ("old", "new", "study", "message"),
    [
        ('"Misled, half way"', '"Misled"', "table2", "row 'Misled': table2 has a row of this name"),
        ('"Misled, half way"', '"SFT (Distillable)"', "table2", "has a row of this name"),
        ('"Misled, half way"', '"Undistillable, half way"', "table2", "yielded twice for the same task"),
        ('"Misled, half way"', '""', "table2", "the label must be one line"),
        ('study = "table2"', 'study = "tabel2"', "table2", "study 'tabel2': no such study"),
        ('study = "table2"', 'study = "guards"', "guards", "guards takes no added rows. Studies that do: table2,"),
        ('study = "table2"', 'study = "table3"', "table2", "they are for table3, not table2"),
        (ROW, "raise KeyError(pair.seed)", "table2", r"rows\(\) failed for qwen3, seed 0: KeyError: 0"),
        (ROW, "pair.calibrate(eta=-1, steps=3)", "table2", r"rows\(\) failed for qwen3, seed 0: TypeError: .*steps"),
        (ROW, "teacher = pair.calibrate(eta='x')", "table2", "its stage: .*eta: not a number"),
        (ROW, 'yield pair.row("A", None)', "table2", "row 'A': NoneType is not a stage"),
        (ROW, "return 3", "table2", r"rows\(\) yields none"),
        (ROW, "yield teacher", "table2", r"yield pair.row\(label, stage\)"),
        (
            ROW,
            'yield pair.row("A", pair.diagnose(teacher, off_policy=False))',
            "table2",
            "of kind diagnose; table2 mea",
        ),
        (
            ROW,
            'yield pair.row("A", pair.evaluate(teacher, ("toy-bm5",)))',
            "table2",
            "its items of toy-bm5 are not those of table2",
        ),
        (ROW, 'yield pair.row("A", pair.evaluate(teacher, ("toy-bm4",)))', "table2", "not measured on toy-csqa"),
        (ROW, 'yield pair.row("A", pair.evaluate(teacher), eta=1.0)', "table2", "without eta, of or guard"),
    ],
)
def test_what_a_run_could_not_measure_is_refused_in_a_line(use_file, old, new, study, message):
    assert SOURCE.count(old) == 1
    use_file(SOURCE.replace(old, new))
    with pytest.raises(InputError, match=message) as refused:
        plan(study, scale="toy", assignments=[*CHOSEN, *(["tasks=toy-bm4,toy-csqa"] if study == "table2" else [])])
    assert "half-way" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            f"if pair.seed == 1:\n            {ROW}",
            "row 'Undistillable, half way': not yielded for qwen3 under seeds 0, 2",
        ),
        (f"if pair.seed < 2:\n            {ROW}", "not yielded for qwen3 under seeds 2"),
    ],
)
def test_a_row_of_some_seeds_alone_would_stand_for_all_and_is_refused(use_file, row, message):
    use_file(SOURCE.replace(ROW, row))
    with pytest.raises(InputError, match=message):
        plan("table2", scale="toy", assignments=CHOSEN, seeds=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("half-wey", "rows 'half-wey': no such rows. Did you mean half-way"),
        ("half-way(share=x)", "rows 'half-way': share = 'x'"),
        ("half-way,half-way", "'half-way' is listed twice"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused(use_file, text, message):
    use_file()
    with pytest.raises(InputError, match=message):
        plan("table2", scale="toy", assignments=[f"rows={text}"])


def test_without_any_plug_in_the_way_to_them_is_named(monkeypatch):
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    with pytest.raises(
        InputError,
        match=r"rows 'half-way': not found, and no installed package provides rows\. Name the file that defines them: --plugin",
    ):
        plan("table2", scale="toy", assignments=CHOSEN)
    with pytest.raises(InputError, match="rows 7: write its name"):
        ROWS.parse(7)


def test_an_installed_package_adds_them_in_processes_of_their_own(tmp_path):
    entries = {"repro.rows": {"half-way": "half_way_package:HalfWay"}}
    entries["repro.losses"] = {"total-variation": "half_way_package:TotalVariation"}
    install(tmp_path, "half_way_package", SOURCE, entries)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]), plugin_files.VARIABLE: ""}
    code = (
        "from repro.recipes.catalog import plan; from repro.stages import stage_adapter\n"
        "row = plan('table2', scale='toy', assignments=['rows=half-way']).rows[-1]\n"
        "assert stage_adapter.validate_json(row.stage.model_dump_json()).fingerprint == row.stage.fingerprint\n"
        "print(row.method, row.stage.model.config.divergence.label, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == f"{STUDENT}|total-variation", done.stderr


TINY = (
    *("tasks=toy-bm4", "train_items=16", "test_items=6", "evaluation.batch_sequences=96"),
    *("evaluation.completions_per_prompt=2", "calibration.steps=4", "calibration.prompts_per_step=8"),
    *(
        "calibration.learning_rate=0.01",
        "calibration.group_size=4",
        "gkd_rkl.steps=1",
        "gkd_rkl.sequences_per_step=4",
        "controls=no",
    ),
)


def test_they_are_run_judged_shown_and_exported(use_file, tmp_path):
    use_file()
    study = plan("table2", scale="toy", assignments=[*CHOSEN, *TINY])
    rows = tuple(row for row in study.rows if row.method in ("Teacher", "Student", TEACHER, STUDENT))
    file = tmp_path / "claims.toml"
    file.write_text(CLAIM.replace('"No-reasoning"', '"Student"'))
    outcome = run_study(
        replace(study, rows=rows),
        tmp_path,
        Execution(Resources(), workers=1, backend="none"),
        quiet=True,
        console=Console(quiet=True),
        claims=read_own_claims([file], "table2"),
    )
    content = read_result(outcome.folder)
    lines = {line["method"]: line for line in content["rows"]}
    assert lines[STUDENT]["plugin"] == "half-way"
    assert "plugin" not in lines["Student"]
    (judged,) = [v for v in content["verdicts"]["claims"] if v["claim"] == "my-misled-not-far-below-no-reasoning"]
    assert judged["estimate"] is not None, judged["text"]
    assert "add --plugin with its file" in (outcome.folder / "report.md").read_text()
    added = f"Rows added by the plug-in half-way (sha256 {content['settings']['rows'][0]['content'][:12]})"
    for name in ("report.html", "report.md"):
        page = (outcome.folder / name).read_text()
        assert STUDENT in page
        assert added in page
    assert f",{STUDENT!r}".replace("'", '"') in export_result(outcome.folder, "csv")
    record = json.loads((tmp_path / "cache" / lines[STUDENT]["artifact"] / "record.json").read_text())
    assert record["config"]["model"]["config"]["divergence"]["content"] == content["settings"]["rows"][0]["content"]
    assert stage_adapter.validate_python(study.rows[-1].stage).fingerprint == study.rows[-1].stage.fingerprint
