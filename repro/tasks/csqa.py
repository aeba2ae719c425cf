"""CommonsenseQA, five options: `tau/commonsense_qa`.

Its validation rows are used for evaluation, since the test rows have no labels. Two layouts of the same fields are read:
that of the hub (question is a text, choices holds two lists) and that of the authors' files (question is an object with
stem and choices).
"""

from collections.abc import Mapping

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.prompts import append_options
from repro.tasks.rows import Row
from repro.tasks.task import Kind


class CommonsenseQa(DataSetTask):
    """Rows: id, question, choices, answerKey."""

    kind: Kind = "choice"
    options = 5
    schema = (
        "id, answerKey (a letter), and question {stem, choices [{label, text}]} or question with choices"
        " {label [], text []}"
    )
    hub = HubSource("tau/commonsense_qa", "train", "validation")

    def read(self, row: Row) -> Question:
        """Return the question with its options in the order of their labels, which must be A, B, C ..."""
        if isinstance(row.value("question"), Mapping):
            question = row.inner("question")
            stem, labels, options = question.text("stem"), *_listed(question)
        else:
            choices = row.inner("choices")
            stem, labels, options = row.text("question"), choices.texts("label"), choices.texts("text")
        if labels != list("ABCDEFGHIJ"[: len(options)]):
            raise row.fault("choices", f"has the labels {labels}, not A, B, C ... in order")
        if row.fields.get("answerKey") == "":
            raise row.fault("answerKey", "is empty, as in the unlabelled test rows (take the validation rows)")
        return Question(
            append_options(stem, options), row.letter("answerKey", len(options)), row.identifier(self.id_field)
        )


def _listed(question: Row) -> tuple[list[str], list[str]]:
    """Return labels and texts of choices that are a list of objects."""
    choices = question.value("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, Mapping) for choice in choices):
        raise question.fault("choices", "is not a list of objects")
    rows = [
        Row(question.source, question.number, choice, question.schema, f"{question.within}choices.")
        for choice in choices
    ]
    return [row.text("label") for row in rows], [row.text("text") for row in rows]
