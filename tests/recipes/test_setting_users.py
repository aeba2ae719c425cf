"""Settings that some studies alone read are refused for the others, and the list of them is that of the recipes."""

import pytest

from repro.errors import InputError
from repro.recipes.catalog import plan
from repro.recipes.setting_users import USERS, check_used, users_of
from repro.recipes.studies import STUDIES

OTHER_VALUES = {
    "matrix": "matrix.guards=none,knob",
    "matrix.own_completions": "matrix.own_completions=3",
    "etas": "etas=-1,0,1",
    "losses": "losses=jsd",
    "prefixes": "prefixes.min_tokens=5",
    "judge": "judge=toy:qwen3-teacher",
    "diagnosis": "diagnosis.resamples=17",
    "source_tasks": "source_tasks=toy-csqa",
    "more_controls": "more_controls=yes",
}
NEEDED = {(study, "matrix.own_completions"): ["more_controls=yes"] for study in ("table2", "table5")}


def stages_of(study, assignments):
    if study in ("table2", "table5"):  # their only reader of the matrix
        assignments = [*assignments, "more_controls=yes"]
    planned = plan(study, scale="toy", seeds=1, assignments=assignments)
    return [(row.method, row.stage.folder_name) for row in planned.rows]


@pytest.mark.parametrize("study", STUDIES)
def test_the_list_is_that_of_the_recipes(study):
    """What a study is refused changes none of its stages; what it is listed for changes some."""
    assert {study for users in USERS.values() for study in users} <= set(STUDIES)
    unused = [text for key, text in OTHER_VALUES.items() if study not in users_of(key)]
    usual = stages_of(study, [])
    assert unused
    assert stages_of(study, unused) == usual
    for key in set(USERS) - {"more_controls"}:
        if study in USERS[key]:
            assert stages_of(study, [OTHER_VALUES[key]]) != usual, key
    if study in USERS["more_controls"]:
        assert len(plan(study, scale="toy", seeds=1).rows) < len(usual)


@pytest.mark.parametrize("study", STUDIES)
def test_a_setting_of_other_studies_is_refused(study):
    for key, text in OTHER_VALUES.items():
        planned = plan(study, scale="toy", seeds=1, assignments=[text, *NEEDED.get((study, key), ())])
        if study in users_of(key):
            check_used(planned)
        else:
            with pytest.raises(InputError, match=f"{study} does not use this setting") as refused:
                check_used(planned)
            assert text in str(refused.value)
            assert all(user in str(refused.value) for user in users_of(key))
            assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("study", "key"), NEEDED)
def test_a_setting_of_rows_that_are_not_planned_is_refused(study, key):
    with pytest.raises(InputError, match="add --set more_controls=yes"):
        check_used(plan(study, scale="toy", seeds=1, assignments=[OTHER_VALUES[key]]))


def test_what_all_studies_read_is_accepted():
    texts = [
        "engine=transformers",
        "reasoning=false",
        "eta=0.3",
        "world=world4",
        "test_items=20",
        "evaluation.temperature=0.9",
    ]
    check_used(plan("figure1a", scale="toy", seeds=1, assignments=texts))
