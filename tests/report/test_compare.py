"""`repro compare`: what differs is listed, cells are paired, verdicts stand side by side, nothing else is compared."""

import json

import pytest
from measured_world import build
from rich.console import Console

from repro.errors import InputError
from repro.report.compare import compare_results, print_comparison

from .conftest import make_result


def store(folder, content):
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def text_of(comparison):
    console = Console(record=True, width=200)
    print_comparison(comparison, console)
    return console.export_text()


@pytest.fixture
def first(tmp_path):
    return store(tmp_path / "a", make_result(build(items=40)))


def test_a_result_beside_itself(first):
    comparison = compare_results(first, first)
    assert comparison.facts == ()
    assert "Same settings" in text_of(comparison)
    assert "0 of " in text_of(comparison)
    assert all(a.value == b.value for _, _, a, b in comparison.verdicts)


def test_settings_cells_and_verdicts_that_differ(first, tmp_path):
    weaker = make_result(
        build(items=40, effects={"Improve": -3.0}),
        settings={"families": {"qwen3": {"teacher": "toy:teacher"}}, "tasks": ["chain3"], "train_items": 200},
        libraries={"torch": "2.14.0", "numpy": "2.3.5"},
    )
    comparison = compare_results(first, store(tmp_path / "b", weaker))
    facts = {name: (a, b) for name, a, b in comparison.facts}
    assert facts["train_items"] == ("300", "200")
    assert facts["library torch"] == ("2.13.0", "2.14.0")
    assert facts["evaluation.completions_per_prompt"] == ("16", "-")
    assert "library numpy" not in facts
    cells = {(c.row, c.task, c.metric): c for c in comparison.cells["qwen3"]}
    assert cells["Improve", "chain3", "acc"].interval[1] < -0.2
    verdicts = {claim: (a.value, b.value) for claim, _, a, b in comparison.verdicts}
    assert verdicts["improve-beats-gkd-rkl"] == ("reproduced", "contradicted")
    text = text_of(comparison)
    assert "What differs" in text
    assert "contradicted" in text
    content = json.loads(json.dumps(comparison.to_dict()))
    assert {v["claim"]: v["b"]["value"] for v in content["verdicts"]}["improve-beats-gkd-rkl"] == "contradicted"


def test_rows_with_the_same_artifacts_are_named_once(tmp_path):
    rows = [{"family": "qwen3", "method": "Teacher", "seed": n, "artifact": f"evaluate-{n}"} for n in range(3)]
    folders = [store(tmp_path / name, make_result(build(items=40), rows=rows)) for name in ("x", "y")]
    comparison = compare_results(*folders)
    assert comparison.same_artifacts == {"qwen3": ["Teacher"]}
    assert "Same artifacts in both: Teacher." in text_of(comparison)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"family": "gemma3"}, "they share none"),
        ({"study": "table6"}, "two results of the same study"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, tmp_path, table, message):
    content = make_result(build(items=40, family=table.get("family", "qwen3")))
    content["study"] = table.get("study", "table2")
    with pytest.raises(InputError, match=message):
        compare_results(first, store(tmp_path / "c", content))


def test_a_row_of_the_same_artifact_whose_cells_differ_is_shown(tmp_path):
    """A gain is over another row, which may differ."""
    rows = [
        {"family": "qwen3", "method": row, "seed": seed, "artifact": f"evaluate-{row}-{seed}"}
        for row in ("Teacher", "Improve")
        for seed in (0, 1, 2)
    ]
    tables = build(items=40), build(items=40, effects={"Improve": -3.0})
    folders = [store(tmp_path / name, make_result(table, rows=rows)) for name, table in zip("ab", tables)]
    comparison = compare_results(*folders)
    assert comparison.same_artifacts == {"qwen3": ["Teacher"]}
