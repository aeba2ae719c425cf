"""Big-Math, the paper's mathematics: levels 4 and 5 of `open-r1/Big-Math-RL-Verified-Processed`.

ASSUMED: the paper's "level 4" and "level 5" are the configurations `level_4` and `level_5`. The data set also has
`quintile_*`, another ranking of difficulty by the same solve rates: `bigmath-quintile-4`, `bigmath-quintile-5`. It has
no test split, so its rows are divided by content. In Open R1's version `prompt` is the problem and `solution` only the
final answer.
"""

from dataclasses import replace
from pathlib import Path

from repro.tasks.dataset import DataSetTask, Question
from repro.tasks.hub import HubSource
from repro.tasks.rows import Row
from repro.tasks.task import Kind

CONFIGS = {
    "bigmath-4": "level_4",
    "bigmath-5": "level_5",
    "bigmath-quintile-4": "quintile_4",
    "bigmath-quintile-5": "quintile_5",
}


class BigMath(DataSetTask):
    """Rows: prompt (the problem), solution (the final answer), source, domain, llama8b_solve_rate."""

    kind: Kind = "numeric"
    schema = "prompt (the problem), solution (the final answer)"
    hub = HubSource("open-r1/Big-Math-RL-Verified-Processed", "train", "train")

    def __init__(self, name: str, data: Path | None = None, revision: str | None = None) -> None:
        self.hub = replace(self.hub, config=CONFIGS[name])
        super().__init__(name, data, revision)

    def read(self, row: Row) -> Question:
        """Return the problem and its final answer without dollar signs."""
        key = row.text("solution").strip("$").strip()
        if not key:
            raise row.fault("solution", "is empty")
        return Question(row.text("prompt"), key)
