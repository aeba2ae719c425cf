"""The guard and the attack of docs/guards.md, in a package outside the tree."""

import re
import sys
from pathlib import Path

import pytest
from outside_package import install

from repro.attacks.base import ATTACKS
from repro.guards.base import GUARDS
from repro.recipes.catalog import plan
from repro.stages import Distill, Rewrite, stage_adapter
from repro.tasks.task import Item

PAGE = Path(__file__).parents[2] / "docs" / "guards.md"
NAME = "outside_guards"


@pytest.fixture
def site(tmp_path, monkeypatch):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(source.splitlines()) < 40
    entries = {"repro.guards": {"last-words": f"{NAME}:LastWords"}, "repro.attacks": {"twice": f"{NAME}:Twice"}}
    install(tmp_path, NAME, source, entries)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop(NAME, None)


def test_a_guard_and_an_attack_of_another_package_make_a_matrix(site):
    assert "last-words" in GUARDS.names()
    assert "twice" in ATTACKS.names()
    guard = GUARDS.parse("last-words(words=2)")
    assert guard.rewrite("a b c d", Item("a", "toy-bm4", "p", None)) == "c d"
    chosen = ["matrix.guards=none,last-words(words=2)", "matrix.attacks=sft,twice"]
    rows = {row.method: row.stage for row in plan("guards", scale="toy", assignments=chosen).rows}
    student = rows["twice under last-words(words=2)"].model
    assert isinstance(student, Distill)
    assert student.student == rows["sft under last-words(words=2)"].model
    shown = student.samples
    assert isinstance(shown, Rewrite)
    assert shown.identity()["guard"]["content"]  # the package is part of the identity
    assert stage_adapter.validate_json(shown.model_dump_json()).fingerprint == shown.fingerprint
