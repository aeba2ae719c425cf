"""The properties of an embedded world: measured in processes, in the order of their names, with an error for a world without models."""

from pathlib import Path

import pytest

from repro.errors import InputError
from repro.toy.world import DEFAULT_WORLD, World
from repro.workflow import world_check


@pytest.mark.processes
def test_findings_come_from_processes_in_the_order_of_the_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_check, "FAMILIES", ())  # what no family decides: seconds rather than minutes
    notes: list[str] = []
    findings = world_check.check_world(DEFAULT_WORLD, progress=lambda done, total, unit, note="": notes.append(note))
    assert [(finding.name, finding.holds) for finding in findings] == [("P7", True), ("P8", True)]
    assert "reward model" in notes[0]


def test_a_world_without_models_is_an_error_that_says_how_to_train_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no models of world9\. `repro toy-models --world world9 --out DIR`"):
        world_check.check_world(World(9), tmp_path)
