"""Tasks of one's own from a file or a package: prompt, key and grader reach stages, and their content is identity."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from outside_package import install

from repro.errors import InputError
from repro.stages import TaskData
from repro.system import plugin_files
from repro.tasks import registry
from repro.tasks.completion_grading import grade_completion

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SOURCE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
"""The task of docs/plugins.md."""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The documented task in a file of a fresh name, in use until the test ends."""
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    file = tmp_path / f"tasks_{tmp_path.name}.py"
    file.write_text(SOURCE)
    plugin_files.use([file])
    yield file
    sys.modules.pop(file.stem, None)


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(json.dumps({"first": letter}) + "\n" for letter in "abcdefghij"))
    return file


def test_rows_become_prompts_and_completions_are_graded(plugin, rows):
    task = registry.get("palindromes", data=rows, fields=[("letter", "first")])
    items = task.items("all", n=None, seed=0)
    assert {item.key for item in items} == set("abcdefghij")
    assert all(item.prompt.endswith("Answer with one word.") for item in items)

    def is_right(text):
        return grade_completion("palindromes", "numeric", text, "l").correct

    assert is_right("It is level.")
    assert not is_right("lever")
    assert not is_right("<think>level</think>no")
    assert not is_right("<think>level")
    assert registry.kind_of("palindromes") == "numeric"
    assert "palindromes" in registry.names()


def test_the_rules_of_the_kind_apply_without_a_grader():
    assert grade_completion("gsm8k", "numeric", r"\boxed{3}", "3").correct


def test_its_content_is_identity_and_a_change_after_planning_is_refused(plugin, rows):
    data = TaskData(task="palindromes", split="test", n=1, seed=0, file=rows, sha256="0", fields=(("letter", "first"),))
    assert data.identity()["plugin"] == data.plugin
    assert len(data.plugin) == 64
    assert TaskData.model_validate_json(data.model_dump_json()) == data
    with pytest.raises(InputError, match=r"palindromes.*have changed"):
        TaskData.model_validate(data.model_dump() | {"plugin": "0" * 64})


def test_other_tasks_keep_their_identity():
    data = TaskData(task="toy-csqa", split="test", n=1, seed=0)
    assert set(data.identity()) == {"task", "split", "n", "seed", "sha256", "revision"}


def test_a_process_that_inherits_the_variable_plans_the_same(plugin, rows):
    data = TaskData(task="palindromes", split="all", n=2, seed=0, file=rows, sha256="0")
    code = "import sys; from repro.stages import TaskData; print(TaskData.model_validate_json(sys.argv[1]).plugin)"
    done = subprocess.run(
        [sys.executable, "-c", code, data.model_dump_json()], capture_output=True, text=True, env=os.environ
    )
    assert done.stdout.strip() == data.plugin, done.stderr


def test_a_package_offers_one_by_its_entry_point(tmp_path, monkeypatch):
    source = SOURCE.replace('"palindromes"', '"packaged"')
    install(
        tmp_path / "site",
        f"package_{os.getpid()}",
        source,
        {"repro.tasks": {"packaged": f"package_{os.getpid()}:Palindromes"}},
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    from repro.tasks import plugin as module

    module._find.cache_clear()
    assert registry.kind_of("packaged") == "numeric"
    assert registry.plugin_content("packaged")
    module._find.cache_clear()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad-name.py", "", "not a Python file"),
        ("json.py", "", "installed already"),
        ("broken_plugin_file.py", "1 / 0", "ZeroDivisionError"),
        ("missing.txt", None, "not a Python file"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, monkeypatch, name, content, message):
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=message):
        plugin_files.use([file])
    assert plugin_files.paths() == []


def test_a_file_in_a_folder_of_the_path_is_itself(tmp_path, monkeypatch):
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / f"beside_{tmp_path.name}.py"
    file.write_text("from repro.tasks.plugin import TaskPlugin\n\n\nclass Empty(TaskPlugin):\n    pass\n")
    plugin_files.use([file])
    assert plugin_files.paths() == [str(file)]


def test_a_grader_that_fails_names_the_task(plugin, monkeypatch):
    monkeypatch.setattr(registry.plugin_of("palindromes"), "grade", lambda self, *_: 1 / 0)
    with pytest.raises(InputError, match=r"'palindromes': grade\(\) failed on 'level': ZeroDivisionError"):
        grade_completion("palindromes", "numeric", "level", "l")


def test_a_mapped_field_that_is_missing_is_named(plugin, rows):
    task = registry.get("palindromes", data=rows, fields=[("letter", "second")])
    with pytest.raises(InputError, match=r"row 1: field 'second' is missing, but --field names it. The row has first"):
        task.items("all", n=None, seed=0)
