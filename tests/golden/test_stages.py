"""Stages keep their identity, and plans their numbers, unless somebody means to change them."""

from golden.stages import IDENTITIES, PLANNED, identities, planned


def changed(committed: list[str], current: list[str]) -> list[str]:
    """The first lines that are only in one of the two, as a diff shows them."""
    gone, new = set(committed) - set(current), set(current) - set(committed)
    return [f"- {line}" for line in committed if line in gone][:5] + [f"+ {line}" for line in current if line in new][
        :5
    ]


def test_every_stage_keeps_its_identity():
    assert changed(IDENTITIES.read_text().splitlines(), identities()) == []


def test_every_plan_keeps_its_numbers():
    assert changed(PLANNED.read_text().splitlines(), planned()) == []


def test_a_changed_setting_is_seen():
    committed = IDENTITIES.read_text().splitlines()
    assert changed(committed, [committed[0].replace("-", "-0", 1), *committed[1:]]) != []
