"""What the tests of both studies of guards and attacks ask of a plan."""

from repro.recipes.catalog import plan


def stages_by_label(study):
    return {row.method: row.stage for row in study.rows}


def check_shared(study, name: str, labels: dict[str, str]) -> None:
    """Check that cells are stages of another toy study: labels of `study` to labels of the other."""
    stages, expected = stages_by_label(study), stages_by_label(plan(name, scale="toy"))
    assert {label: stages[label] for label in labels} == {label: expected[shared] for label, shared in labels.items()}
