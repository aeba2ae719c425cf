"""Vicuna's 80 open-ended questions, from the repository of FastChat.

ASSUMED: they are for evaluation only, as in other work; students are distilled on other rows (dolly).
"""

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.rows import Row
from repro.tasks.task import Kind

URL = "https://raw.githubusercontent.com/lm-sys/FastChat/{revision}/fastchat/llm_judge/data/vicuna_bench/question.jsonl"


class Vicuna(DataSetTask):
    """Rows: question_id, category, turns (one)."""

    kind: Kind = "open"
    schema = "question_id, turns (a list whose first text is the question)"
    hub = HubSource("lm-sys/FastChat", None, "test", url=URL)
    id_field = "question_id"

    def read(self, row: Row) -> Question:
        """Return the first turn."""
        question = row.texts("turns")[0]
        if not question:
            raise row.fault("turns", "starts with an empty text")
        return Question(question, None, row.identifier(self.id_field))
