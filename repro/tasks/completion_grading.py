"""Grade a completion by its task: a plug-in task's own grader, else the rules for its kind."""

from repro.errors import InputError
from repro.tasks import registry
from repro.tasks.grading import Grade, grade
from repro.tasks.task import Kind
from repro.tasks.thoughts import has_unfinished_thought, visible_text


def grade_completion(
    task: str, kind: Kind, text: str, key: str | None, question: str = "", *, opens_in_thought: bool = False
) -> Grade:
    """Extract the answer of a completion and compare it with the key; see `repro.tasks.grading.grade`.

    Raises:
        InputError: a plug-in task's grader failed, or returned something other than a `Grade`.
    """
    plugin = registry.plugin_of(task)
    if plugin is not None and not has_unfinished_thought(text, opens_in_thought=opens_in_thought):
        visible = visible_text(text, opens_in_thought=opens_in_thought)
        try:
            result = plugin().grade(visible, key, question)
        except Exception as error:
            raise InputError(
                f"task '{task}': grade() failed on {visible[:60]!r}: {type(error).__name__}: {error}"
            ) from error
        if isinstance(result, Grade):
            return result
        if result is not None:
            raise InputError(f"task '{task}': grade() returned {type(result).__name__}, not a Grade or None")
    return grade(kind, text, key, question, opens_in_thought=opens_in_thought)
