"""Numbers that nobody should read past become sentences."""

from repro.stages.alarms import find_alarms

GOOD = {"acc": 0.5, "truncated": 0.1, "unparsed": 0.0, "items": 8}


def test_a_good_summary_raises_none():
    assert find_alarms({"toy-bm4": GOOD, "sampler": {"gap": 0.0, "alarm": None}}) == []
    assert find_alarms({"steps": 20, "task_reward_flat_groups": 0.5, "stopped_by_length": 0.2}) == []


def test_all_cut_and_nothing_parsed_are_named_with_their_task():
    cut, unparsed = find_alarms({"gsm8k": {**GOOD, "truncated": 1.0, "unparsed": 1.0}, "csqa": GOOD})
    assert cut.startswith("Every completion of gsm8k was cut at the token cap")
    assert unparsed.startswith("No completion of gsm8k has an answer")


def test_more_than_half_of_the_answers_not_read_are_named_with_what_to_try():
    (alarm,) = find_alarms({"file-numeric": {**GOOD, "acc": 0.03, "unparsed": 0.72}, "csqa": {**GOOD, "unparsed": 0.5}})
    assert alarm.startswith("72% of the answers of file-numeric could not be read and count as wrong")
    assert "10% of the completions were cut at the token cap" in alarm
    assert "--instruction TEXT" in alarm
    assert "repro show FOLDER --completions 5" in alarm


def test_a_sample_and_a_training_that_are_cut_are_named():
    assert find_alarms({"completions": 64, "truncated": 1.0})[0].startswith("Every completion was cut")
    assert find_alarms({"steps": 20, "stopped_by_length": 1.0})[0].startswith("Every completion in the last tenth")


def test_flat_groups_taught_nothing():
    (alarm,) = find_alarms({"steps": 20, "task_reward_flat_groups": 1.0})
    assert "every group had the same task reward" in alarm
    assert "r_cal" not in alarm  # at eta = 0 there is none


def test_heavy_tailed_weights_are_not_to_be_believed():
    lines = [{"measure": "pareto_k", "task": "a", "value": k} for k in (0.4, 1.96, "nan")]
    (alarm,) = find_alarms({"panel": lines})
    assert "Pareto-k is 1.96 on a" in alarm
    assert find_alarms({"panel": lines[:1]}) == []
