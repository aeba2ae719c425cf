"""MMLU-Pro, up to ten options: `TIGER-Lab/MMLU-Pro`.

ASSUMED: it has no training split (its 70 validation rows are meant as worked examples), and the paper distils on it, so
its 12,032 test rows are divided by content.
"""

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.prompts import append_options
from repro.tasks.rows import Row
from repro.tasks.task import Kind


class MmluPro(DataSetTask):
    """Rows: question_id, question, options, answer (a letter), answer_index, category, src."""

    kind: Kind = "choice"
    schema = "question_id, question, options (1 to 10 texts), answer (a letter), answer_index"
    hub = HubSource("TIGER-Lab/MMLU-Pro", "test", "test")
    id_field = "question_id"

    def read(self, row: Row) -> Question:
        """Return the question with its options. Letter and index must agree if both are given."""
        options = row.texts("options")
        if len(options) > 10:
            raise row.fault("options", f"has {len(options)} texts, more than ten")
        letter = row.letter("answer", len(options))
        index = row.fields.get("answer_index")
        if index is not None and index != "ABCDEFGHIJ".index(letter):
            raise row.fault("answer_index", f"is {index!r}, but answer is {letter}")
        return Question(append_options(row.text("question"), options), letter, row.identifier(self.id_field))
