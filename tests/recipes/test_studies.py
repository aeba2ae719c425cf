"""Every study has its five: a recipe, a nox session, a stored table with provenance, a pytest file, a budget. And no more."""

import runpy
import sys
import types
from pathlib import Path

import pytest

from repro.errors import InputError
from repro.planner.hours import BUDGETS, study_hours, toy_mib
from repro.planner.scales import REQUIREMENTS
from repro.recipes import eta_label as knob
from repro.recipes.catalog import STUDIES, plan
from repro.tables import load_claims
from repro.tables.paper.load import TABLES, UNPRINTED, load

ROOT = Path(__file__).parents[2]
PREFIX = "reproduce-"
READ_OFF = {"figure2", "table5", "figure4", "failure-modes"}
"""Studies whose measured rows are read off their stages, and are not the plan's own."""


@pytest.fixture(scope="module")
def sessions():
    """Names and docstrings of the sessions that noxfile.py makes, by a stand-in for nox (which the tests do without)."""
    found = {}

    def session(function=None, *, name=None, **_):
        def register(f):
            found[name or f.__name__] = f.__doc__
            return f

        return register(function) if function else register

    nox = types.ModuleType("nox")
    nox.session = session
    nox.Session = object
    nox.options = types.SimpleNamespace()
    kept = sys.modules.get("nox")
    sys.modules["nox"] = nox
    try:
        runpy.run_path(str(ROOT / "noxfile.py"))
    finally:
        if kept is None:
            del sys.modules["nox"]
        else:
            sys.modules["nox"] = kept
    return found


def test_no_study_without_its_five_and_none_of_the_five_without_a_study(sessions):
    studies = set(STUDIES)
    assert {name.removeprefix(PREFIX) for name in sessions if name.startswith(PREFIX)} == studies
    assert set(BUDGETS) == studies
    stored = {*TABLES, *UNPRINTED} - {"figures"}  # what the prose prints for figures: cells that several studies read
    files = {path.stem for path in (ROOT / "paper_tables").glob("*.toml")} - {"legend", "claims", "figures"}
    claimed = {claim.study for claim in load_claims()}
    for kept in (stored, files, claimed):
        assert kept == studies
    judging = {p.stem.removeprefix("test_") for p in (ROOT / "benchmarks").glob("test_*.py") if _judges(p)}
    assert judging == {study.replace("-", "_") for study in studies}


def _judges(path):
    """Whether a benchmark file reads a study's verdicts."""
    return "check_claim" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("study", STUDIES)
def test_a_session_says_what_it_runs_and_a_table_whose_numbers_it_holds(study, sessions):
    assert len(sessions[PREFIX + study]) > 40
    stored = load(study)
    assert stored.id == study
    assert all(cell.provenance == "PAPER" for cell in stored.cells)
    text = (ROOT / "benchmarks" / f"test_{study.replace('-', '_')}.py").read_text(encoding="utf-8")
    assert f'STUDY = "{study}"' in text


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_planned_at_every_scale_within_its_budget(study):
    """The budget is also not so wide that it could not be missed: at most twice the plan, and a minute or ten MiB."""
    budget = BUDGETS[study]
    toy, paper = (plan(study, scale=scale) for scale in ("toy", "paper"))
    for spent, allowed, slack in (
        (60 * study_hours(toy, REQUIREMENTS["toy"].workers), budget.toy_minutes, 2),
        (toy_mib(toy), budget.toy_mib, 10),
        (study_hours(paper, 1), budget.paper_gpu_hours, 1),
    ):
        assert spent <= allowed <= 2 * spent + slack
    assert budget.toy_minutes <= (45 if study == "eta-sweep" else 15)
    assert plan(study, scale="small").stages()


@pytest.mark.parametrize("study", [study for study in STUDIES if study not in READ_OFF])
def test_every_claim_finds_its_rows_in_the_plan(study):
    """A row that a claim names is one that the recipe makes."""
    labels = [row.method for row in plan(study, scale="paper", seeds=1).rows]
    for claim in load_claims(study):
        if claim.kind in ("trend", "monotone"):
            assert len(knob.curve(labels, claim.left.row)) >= 9
            continue
        for ref in (claim.left, *claim.right):
            assert ref.row == "*" or ref.row in labels, (claim.id, ref.row)


def test_a_study_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match="no such study"):
        plan("table9", scale="toy")
