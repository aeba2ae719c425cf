"""Every study has a recipe, claims and known verdicts, keeps its budget, and has its nox session and its row of README.md."""

import re
from pathlib import Path

import pytest

from repro.errors import InputError
from repro.planner.cards import CPU_CORE, H100
from repro.planner.hours import hours_on_card, toy_mib
from repro.recipes import paper
from repro.recipes.catalog import plan
from repro.recipes.labels import at_eta
from repro.recipes.settings import MatrixSettings
from repro.recipes.studies import FURTHER_FAMILIES, STUDIES, name_of, resolve
from repro.recipes.toy import SEVEN_TASKS
from repro.tables import load_claims
from repro.tables.measurements.trap_outcomes import CALIBRATED
from repro.tables.verdicts.known_verdicts import load_known_verdicts
from repro.toy.world import DEFAULT_WORLD

ROOT = Path(__file__).parents[2]
FUNCTION = re.compile(r"[a-z0-9_.]+:[a-z0-9_]+")
DERIVED_ROWS = {"figure2", "table5", "figure4", "failure-modes"}
"""Studies whose measured rows are read off their stages, and are not the plan's."""

FURTHER_RECORDS = {
    "table2": ("world4", "world5", "all-tasks"),
    "leak": ("gemma3",),
    "losses": ("gemma3",),
    "guards": ("gemma3",),
}
"""Records of a study in other worlds, of another family, or of all tasks and both families."""


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_recipe_claims_and_known_verdicts(study):
    entry = STUDIES[study]
    references = [value for value in vars(entry).values() if isinstance(value, str) and FUNCTION.fullmatch(value)]
    assert {entry.rows, entry.measure} <= set(references)
    assert all(callable(resolve(reference)) for reference in references)
    assert plan(study, scale="toy").rows
    claims = {claim.id for claim in load_claims(study)}
    known = load_known_verdicts(ROOT / "benchmarks" / "known_verdicts" / f"{study}-toy.toml")
    assert (known.study, known.world) == (study, DEFAULT_WORLD.name)
    assert {verdict.claim for verdict in known.claims} <= claims


def test_table2_is_recorded_in_worlds_that_no_choice_has_seen():
    folder = ROOT / "benchmarks" / "known_verdicts"
    records = [load_known_verdicts(folder / f"table2-toy-{label}.toml") for label in FURTHER_RECORDS["table2"]]
    records.append(load_known_verdicts(folder / "table2-toy.toml"))
    reported = {known.world for known in records}
    assert reported == {"world3", "world4", "world5"}
    assert all(known.seeds == (0, 1, 2) and not reported & set(known.development_worlds) for known in records)


def test_table2_is_recorded_with_all_tasks_and_both_families():
    known = load_known_verdicts(ROOT / "benchmarks" / "known_verdicts" / "table2-toy-all-tasks.toml")
    assert known.tasks == SEVEN_TASKS
    assert {verdict.family for verdict in known.claims} == {"qwen3", "gemma3"}


def test_nothing_else_is_declared_a_study(sessions):
    studies = set(STUDIES)
    assert {claim.study for claim in load_claims()} == studies
    assert {path.stem for path in (ROOT / "benchmarks" / "known_verdicts").glob("*.toml")} == {
        *(f"{study}-toy" for study in studies),
        *(f"{study}-toy-{label}" for study, labels in FURTHER_RECORDS.items() for label in labels),
    }
    reproduced = [name.removeprefix("reproduce-") for name in sessions if name.startswith("reproduce-")]
    assert [name for name in reproduced if name != "known-truth"] == list(STUDIES)
    assert all(sessions[f"reproduce-{study}"].startswith(entry.session) for study, entry in STUDIES.items())


def test_every_study_has_one_row_of_the_readme():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    named = [study for row in rows for study in re.findall(r"docs/results\.md#([a-z0-9-]+)", row)]
    assert sorted(named) == sorted(STUDIES)


def test_the_further_families_are_those_of_the_paper():
    assert FURTHER_FAMILIES["paper"] == tuple(paper.FURTHER_FAMILIES)


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_planned_at_every_scale_within_its_budget(study):
    """Hours are the model's without measured factors: those change with the code and the machine.

    The budget is also not so wide that it could not be missed: at most twice the plan, and a minute or ten MiB.
    """
    budget = STUDIES[study].budget
    toy, paper_scale = (plan(study, scale=scale) for scale in ("toy", "paper"))
    for spent, allowed, slack in (
        (60 * hours_on_card(toy, CPU_CORE) / 2, budget.toy_minutes, 2),
        (toy_mib(toy), budget.toy_mib, 10),
        (hours_on_card(paper_scale, H100), budget.paper_gpu_hours, 1),
    ):
        assert spent <= allowed <= 2 * spent + slack
    assert budget.toy_minutes <= (25 if study in ("eta-sweep", "guards", "losses") else 10)
    assert plan(study, scale="small").stages()


@pytest.mark.parametrize("study", [study for study in STUDIES if study not in DERIVED_ROWS])
def test_every_claim_finds_its_rows_in_the_plan(study):
    """A row that a claim names is one that the recipe makes."""
    all_guards = ",".join(MatrixSettings.model_fields["guards"].default)  # paper scale leaves some out
    rows = plan(study, scale="paper", seeds=1, assignments=["more_controls=yes", f"matrix.guards={all_guards}"]).rows
    labels = [row.method for row in rows]
    for claim in load_claims(study):
        if claim.kind in ("trend", "monotone"):
            etas = {row.eta for row in rows if row.eta is not None and row.method == at_eta(claim.left.row, row.eta)}
            assert len(etas) >= 9
            continue
        for ref in (claim.left, *claim.right):
            assert ref.row in ("*", CALIBRATED) or ref.row in labels, (claim.id, ref.row)


@pytest.mark.parametrize(("scale", "seeds"), [("toy", 1), ("small", 1), ("paper", 3)])
def test_paper_scale_has_three_seeds_by_default(scale, seeds):
    assert len(plan("table2", scale=scale).seeds) == seeds


def test_pages_name_every_study_in_words():
    names = {study: name_of(study) for study in STUDIES}
    assert (names["table2"], names["figure1a"], names["failure-modes"]) == ("Table 2", "Figure 1a", "Failure modes")
    assert all(re.fullmatch(r"(Table|Figure) \d+[a-z]?|[A-Z][a-z]+( [a-z]+)*", name) for name in names.values()), names
    assert len(set(names.values())) == len(names)


def test_a_study_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match="no such study"):
        plan("table9", scale="toy")
