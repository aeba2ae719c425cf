"""Plug-in tasks: how a row becomes a prompt and a key, and how a completion is graded.

    class Rhymes(TaskPlugin):
        name = "rhymes"
        formula = "does the last word rhyme with the key?"
        source = "my data set"
        kind = "numeric"
        row_fields = "word"

        def question(self, row: Row) -> Question:
            return Question(f"Find a rhyme for {row.text('word')}.", row.text("word"))

        def grade(self, completion: str, key: str | None, question: str) -> Grade:
            answer = completion.split()[-1].lower() if completion.split() else None
            return Grade(answer, correct=answer is not None and answer != key and answer[-3:] == key[-3:])

Provided by an installed package (entry point group "repro.tasks") or a file (`--plugin FILE`). See docs/plugins.md.
"""

import functools
from typing import TYPE_CHECKING, ClassVar

from repro.errors import InputError
from repro.system.plugin_files import paths
from repro.system.plugins import Plugin, Registry, content_hash
from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.prompts import add_instruction
from repro.tasks.rows import Row
from repro.tasks.task import Kind

if TYPE_CHECKING:
    from repro.tasks.grading import Grade


class TaskPlugin(Plugin):
    """A task. `formula` says in one line how it is graded.

    Attributes:
        kind: "numeric" (\\boxed{}), "choice" (a letter) or "open" (a reward model): decides the instruction in the prompt and
            the grading, unless `prompt` and `grade` do.
        row_fields: the fields of a row, for error messages.
        options: the most options of a choice, for the score of guessing.
        hub: where the rows are if no file is given; None: `--data FILE` is required.
    """

    kind: ClassVar[Kind]
    row_fields: ClassVar[str]
    options: ClassVar[int | None] = None
    hub: ClassVar[HubSource | None] = None

    def question(self, row: Row) -> Question:
        """Return text and key of a row; `row.text(name)` and its like raise errors that name file, row and field."""
        raise NotImplementedError

    def prompt(self, question: str) -> str:
        """Return the user message of a question: by default with the instruction of the kind."""
        return add_instruction(self.kind, question)

    def grade(self, completion: str, key: str | None, question: str) -> "Grade | None":
        """Grade what follows a completion's thoughts; None for the rules of the kind (docs/grading.md)."""
        return None


TASKS: Registry[TaskPlugin] = Registry("task", "repro.tasks", TaskPlugin, {})


def find_task(name: str) -> type[TaskPlugin] | None:
    """Return the class of a plug-in task, or None if nothing provides that name.

    Raises:
        InputError: it cannot be used.
    """
    return _find(name, tuple(paths()))


@functools.cache
def _find(name: str, files: tuple[str, ...]) -> type[TaskPlugin] | None:
    if name not in TASKS.names():
        return None
    kind = TASKS.find(name)
    lacking = [field for field in ("kind", "row_fields") if not hasattr(kind, field)]
    if lacking or kind.question is TaskPlugin.question:
        raise InputError(f"task '{name}': its class lacks {', '.join(lacking) or 'the method question'}")
    return kind


def content_of(name: str) -> str | None:
    """Return the sha256 of the package or file that defines a plug-in task; None for other tasks."""
    kind = find_task(name)
    return None if kind is None else content_hash(kind)


@functools.cache
def data_set_of(plugin: type[TaskPlugin]) -> type[DataSetTask]:
    """Return the data set that parses its rows with a plug-in task."""

    class PluginTask(DataSetTask):
        kind = plugin.kind
        schema = plugin.row_fields
        options = plugin.options
        hub = plugin.hub
        task = plugin()

        def read(self, row: Row) -> Question:
            return self.task.question(row)

        def prompt(self, question: str) -> str:
            return self.task.prompt(question)

    return PluginTask
