"""The contamination check, over data sets that overlap."""

from tasks.schema_rows import GSM8K, ROWS, Write

from repro.tasks import registry
from repro.tasks.contamination import find_contaminated


def test_splits_of_every_data_set_are_clean(write: Write) -> None:
    for name in ROWS:
        if name == "vicuna":
            continue
        task = registry.get(name, data=write(ROWS[name], f"{name}.jsonl"))
        assert find_contaminated(task.items("test", None, 0), task.items("train", None, 1)) == []


def test_the_same_problem_in_another_data_set_is_found(write: Write) -> None:
    as_bigmath = [
        {"prompt": row["question"].upper().replace(" ", "  "), "solution": "1", "source": "gsm8k"} for row in GSM8K
    ]
    write(GSM8K[:30], "folder/train.jsonl")
    folder = write(GSM8K[30:], "folder/test.jsonl").parent
    evaluation = registry.get("gsm8k", data=folder).items("test", None, 0)
    training = registry.get("bigmath-4", data=write(as_bigmath, "bigmath.jsonl")).items("train", None, 0)
    contaminated = find_contaminated(evaluation, training)
    assert contaminated
    assert set(contaminated) <= set(evaluation)


def test_divided_data_sets_put_a_shared_problem_into_the_same_split(write: Write) -> None:
    as_bigmath = [{"prompt": row["question"], "solution": "1", "source": "gsm8k"} for row in GSM8K]
    gsm8k = registry.get("gsm8k", data=write(GSM8K, "gsm8k.jsonl"))
    bigmath = registry.get("bigmath-4", data=write(as_bigmath, "bigmath.jsonl"))
    assert find_contaminated(gsm8k.items("test", None, 0), bigmath.items("train", None, 0)) == []
    assert len(find_contaminated(gsm8k.items("test", None, 0), bigmath.items("test", None, 0))) > 0
