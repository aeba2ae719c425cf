"""SuperGPQA, graduate questions, up to ten options: `m-a-p/SuperGPQA`. One split, divided by content."""

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.prompts import append_options
from repro.tasks.rows import Row
from repro.tasks.task import Kind


class SuperGpqa(DataSetTask):
    """Rows: uuid, question, options, answer (the text), answer_letter, discipline, field, subfield, ..."""

    kind: Kind = "choice"
    schema = "uuid, question, options (up to 10 texts), answer_letter, answer (the option's text)"
    hub = HubSource("m-a-p/SuperGPQA", "train", "train")
    id_field = "uuid"

    def read(self, row: Row) -> Question:
        """Return the question with its options. The letter is the key, since some options are equal texts."""
        options = row.texts("options")
        if len(options) > 10:
            raise row.fault("options", f"has {len(options)} texts, more than ten")
        letter = row.letter("answer_letter", len(options))
        return Question(append_options(row.text("question"), options), letter, row.identifier(self.id_field))
