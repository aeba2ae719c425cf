"""What stages cost, from records and summaries of known content."""

import json

from repro.recipes.catalog import plan
from repro.tables.measurements.costs import completion_tokens


def test_tokens_of_an_evaluation_are_those_of_its_tasks(tmp_path):
    """A summary has more than tasks: the check of the sampler counts the tokens that it compared, odd rows have reasons."""
    stage = plan("table5", scale="toy", assignments=["tasks=toy-bm4,toy-csqa"]).rows[0].stage
    folder = tmp_path / stage.folder_name
    folder.mkdir()
    summary = {data.task: {"tokens": 1000} for data in stage.data}
    further = {"sampler": {"gap": 0.0, "tokens": 38}, "skipped_rows": {"toy-bm4": {"no key": 2}}}
    (folder / "summary.json").write_text(json.dumps(summary | further))
    assert completion_tokens(stage, tmp_path) == 2000
