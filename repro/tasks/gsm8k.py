"""GSM8K, grade-school word problems (appendix F): `openai/gsm8k`, with train and test splits."""

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.extraction import last_hash_mark
from repro.tasks.hub import HubSource
from repro.tasks.rows import Row
from repro.tasks.task import Kind


class Gsm8k(DataSetTask):
    """Rows: question, answer (worked solution whose last line is `#### n`)."""

    kind: Kind = "numeric"
    schema = "question, answer (a solution that ends with a line '#### number')"
    hub = HubSource("openai/gsm8k", "train", "test", config="main")

    def read(self, row: Row) -> Question:
        """Return the question and its number without thousands separators."""
        key = last_hash_mark(row.text("answer"))
        if key is None:
            raise row.fault("answer", "has no '#### number' line")
        return Question(row.text("question"), key.replace(",", ""))
