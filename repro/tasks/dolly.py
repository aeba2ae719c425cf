"""Dolly, open-ended instructions: `databricks/databricks-dolly-15k`. Its one split is divided by content."""

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.rows import Row
from repro.tasks.task import Kind


class Dolly(DataSetTask):
    """Rows: instruction, context (often empty), response, category. The human response is not used."""

    kind: Kind = "open"
    schema = "instruction, context (may be empty)"
    hub = HubSource("databricks/databricks-dolly-15k", "train", "train")

    def read(self, row: Row) -> Question:
        """Return the instruction followed by its context."""
        instruction, context = row.text("instruction"), row.optional_text("context")
        return Question(f"{instruction}\n\n{context}" if context else instruction, None)
