"""How models answer, from artifacts: every row that has completions, whether evaluated or graded, has a line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from repro.recipes.catalog import plan
from repro.recipes.labels import teacher_under
from repro.report.styles import answer_styles
from repro.stages import Evaluate, Grade
from repro.stages.artifact import ROLLOUTS


def test_a_teacher_whose_completions_are_rewritten_has_a_line(tmp_path):
    study = plan("guards", scale="toy", assignments=["matrix.guards=none,answer-only", "matrix.attacks=sft"])
    for row in study.rows:
        if isinstance(row.stage, Evaluate | Grade):
            folder = tmp_path / row.stage.folder_name
            folder.mkdir(exist_ok=True)
            reasoning = "" if row.method == teacher_under("answer-only") else "first 2 1 7 "
            text = rf"{reasoning}\boxed{{7}}"
            pq.write_table(pa.table({"task": ["toy-bm4"], "text": [text]}), folder / ROLLOUTS)
            (folder / "summary.json").write_text(json.dumps({"toy-bm4": {"acc": 0.5, "mean_tokens": len(text)}}))
    reasoning = {line["method"]: line["reasoning"] for line in answer_styles(study, tmp_path)}
    assert reasoning[teacher_under("none")] == 1
    assert reasoning[teacher_under("answer-only")] == 0
