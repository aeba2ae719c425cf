"""Evaluation items must not be training items, over all tasks of a study."""

import json

import pytest

from repro.errors import InputError
from repro.recipes.catalog import plan
from repro.stages import Calibrate, Evaluate, TaskData
from repro.tasks.own_file import hash_data_file
from repro.workflow.contamination import check_contamination


@pytest.fixture(scope="module")
def stages():
    return plan("table2", scale="toy", seeds=1, assignments=("tasks=toy-bm4", "train_items=8", "test_items=4")).stages()


def test_a_study_shares_no_items(stages):
    assert check_contamination(stages) == {"evaluation_items": 4, "training_items": 8, "shared": 0}
    assert check_contamination([s for s in stages if isinstance(s, Evaluate)])["training_items"] == 0


def test_an_evaluation_item_that_another_task_trains_on_is_refused(stages, tmp_path):
    """All of Vicuna is for evaluation; the user's rows that contain its questions are found, whatever their ids."""
    questions = [f"Tell me {n} things about rain." for n in range(20)]
    rows, vicuna = tmp_path / "own.jsonl", tmp_path / "vicuna.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"  {text.upper()}"}) + "\n" for text in questions))
    vicuna.write_text(
        "".join(
            json.dumps({"question_id": n, "category": "x", "turns": [text]}) + "\n" for n, text in enumerate(questions)
        )
    )
    data = {
        name: TaskData(task=name, split=split, n=None, seed=0, file=file, sha256=hash_data_file(file))
        for name, split, file in (("file-open", "train", rows), ("vicuna", "test", vicuna))
    }
    trained = next(s for s in stages if isinstance(s, Calibrate)).model_copy(update={"data": (data["file-open"],)})
    graded = next(s for s in stages if isinstance(s, Evaluate)).model_copy(update={"data": (data["vicuna"],)})
    with pytest.raises(InputError, match=r"evaluation items of vicuna are also training items, for example vicuna-"):
        check_contamination([trained, graded])
